"""Where the weights of a pretrained model are, and how it runs."""
