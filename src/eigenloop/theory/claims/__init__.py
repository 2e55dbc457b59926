"""The statements of arXiv 2606.00605 as claims that are measured: `eigenloop verify`."""
