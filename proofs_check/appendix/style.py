"""The style sheet of the HTML appendix."""

STYLE = """
:root { color-scheme: light dark; --text: #1b1b1f; --page: #fdfdfc; --soft: #f1f1ee; --line: #c9c9c4; --link: #0b4fa8;
  --agrees: #11632f; --contradicts: #a51d1d; --inconclusive: #7a4b00; --none: #55555c; --audited: #5a2d91; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e8e8ea; --page: #16171a; --soft: #22242a; --line: #474a52; --link: #8ab8ff;
    --agrees: #7ddc9a; --contradicts: #ff9b94; --inconclusive: #f2c069; --none: #b4b6bd; --audited: #cfb0ff; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; color: var(--text); background: var(--page);
  font: 1rem/1.55 Georgia, "Noto Serif", "DejaVu Serif", serif; overflow-wrap: anywhere; }
h1, h2, h3 { font-family: system-ui, "DejaVu Sans", sans-serif; line-height: 1.25; text-wrap: balance; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.3rem; margin-top: 2.5rem; } h3 { font-size: 1.05rem; margin-top: 1.5rem; }
section.claim { border-top: 1px solid var(--line); }
a { color: var(--link); } a:hover { text-decoration-thickness: 2px; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 2px; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; top: .5rem; background: var(--page);
  padding: .5rem; }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .875em; background: var(--soft);
  padding: 0 .2em; }
.hash { overflow-wrap: anywhere; }
.wide { overflow-x: auto; max-width: 100%; margin: .75rem 0; }
.formula { padding: .25rem 0; }
.formula math { font-size: 1.05rem; }
mtable.lines mtd { text-align: left; padding-block: .25em; }
table { border-collapse: collapse; font-size: .9rem; font-family: system-ui, "DejaVu Sans", sans-serif;
  overflow-wrap: normal; }
caption { text-align: left; color: var(--none); font-size: .85rem; padding-bottom: .25rem; }
th, td { border: 1px solid var(--line); padding: .35rem .5rem; text-align: left; vertical-align: top;
  min-width: 4.5rem;
  max-width: 22rem; }
thead th { background: var(--soft); } tbody th { font-weight: 600; }
dl { margin: 1rem 0; } dt { font-weight: 600; font-family: system-ui, "DejaVu Sans", sans-serif; font-size:
  .9rem; margin-top: .6rem; }
dd { margin: 0 0 0 1rem; } dd > ul { margin: 0; padding-left: 1.1rem; }
ol { padding-left: 1.5rem; } ol > li { margin-bottom: .75rem; } li::marker { color: var(--none); }
summary { cursor: pointer; font-family: system-ui, "DejaVu Sans", sans-serif; }
nav ul { columns: 16rem; padding-left: 1.2rem; } nav ul ul { columns: auto; }
nav > details > ul { columns: auto; } nav li ul { columns: 14rem; }
.mark { display: inline-block; min-width: 1.25em; text-align: center; font-weight: 700; }
.checked { font-family: system-ui, "DejaVu Sans", sans-serif; font-size: .85rem; white-space: nowrap; }
.agrees { color: var(--agrees); } .contradicts { color: var(--contradicts); } .inconclusive { color:
  var(--inconclusive); }
.none { color: var(--none); } .audited { color: var(--audited); }
svg.graph { display: block; font-family: system-ui, "DejaVu Sans", sans-serif; }
svg.graph rect { fill: var(--soft); stroke-width: 1.5; } svg.graph path { fill: none; stroke: var(--none); }
svg.graph text { fill: var(--text); font-size: 12px; } svg.graph .arrow { fill: var(--none); stroke: none; }
svg.graph .sign { font-weight: 700; font-size: 14px; }
svg.graph g.agrees rect { stroke: var(--agrees); } svg.graph g.agrees .sign { fill: var(--agrees); }
svg.graph g.contradicts rect { stroke: var(--contradicts); } svg.graph g.contradicts .sign { fill:
  var(--contradicts); }
svg.graph g.inconclusive rect { stroke: var(--inconclusive); stroke-dasharray: 5 3; }
svg.graph g.inconclusive .sign { fill: var(--inconclusive); }
svg.graph g.none rect { stroke: var(--none); stroke-dasharray: 2 3; } svg.graph g.none .sign { fill: var(--none); }
svg.graph g.audited rect { stroke: var(--audited); } svg.graph g.audited .sign { fill: var(--audited); }
svg.graph a:focus-visible rect { stroke-width: 4; }
@media print { nav, .skip { display: none; } .wide { overflow: visible; } section.claim { break-before: page; } }
"""
