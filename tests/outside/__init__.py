"""Networks from timm, as their authors wrote them."""
