"""One layer of linear attention: population loss, fixed point and what follows from them."""
