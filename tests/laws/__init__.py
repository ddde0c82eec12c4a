"""The laws of the algebra, over every pair of kinds of map, against two oracles that know nothing of the algebra."""
