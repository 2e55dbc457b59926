"""Whether the tokens of a text follow the directions that layers and heads amplify."""
