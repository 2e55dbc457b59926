"""Frozen baseline, do not optimise: the full looped transformer in PyTorch, as a paper's author would write it.

Z <- N(Z + V Z Z^T W Z) with 2d x 2d matrices V and W, autograd, torch.optim.SGD, torch's default threads
(arXiv 2606.00605, Section 3.2 and Theorem 4.1). A checksum in tests/test_bench.py keeps this file as it is.
"""

import torch


class LoopedTransformer(torch.nn.Module):
    def __init__(self, d, dtype=torch.float32):
        super().__init__()
        V = torch.zeros(2 * d, 2 * d, dtype=dtype)
        V[d:, :d] = torch.eye(d, dtype=dtype)
        self.V = torch.nn.Parameter(V)
        self.W = torch.nn.Parameter(torch.zeros(2 * d, 2 * d, dtype=dtype))

    def forward(self, X, q, loops):
        batch, d, n = X.shape
        Z = torch.zeros(batch, 2 * d, n + 1, dtype=X.dtype, device=X.device)
        Z[:, :d, :n] = X
        Z[:, d:, n] = q
        for _ in range(loops):
            Z = Z + self.V @ Z @ Z.transpose(1, 2) @ self.W @ Z
            Z = Z / Z.norm(dim=1, keepdim=True)
        return Z[:, d:, n]


def end_to_end_loss(model, X, q, U, loops):
    """Mean of ||y||^2 - ||U^T y||^2."""
    y = model(X, q, loops)
    inside = (U.transpose(1, 2) @ y[:, :, None])[:, :, 0]
    return ((y**2).sum(dim=1) - (inside**2).sum(dim=1)).mean()


class Training:
    def __init__(self, X, q, U, loops, batch, learning_rate, device="cpu"):
        self.X, self.q, self.U = X.to(device), q.to(device), U.to(device)
        self.loops, self.batch = loops, batch
        self.model = LoopedTransformer(X.shape[1], X.dtype).to(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=learning_rate)
        self.batches = []

    def run(self, steps):
        for _ in range(steps):
            if not self.batches:
                order = torch.randperm(len(self.X), device=self.X.device)
                self.batches = [rows for rows in order.split(self.batch) if len(rows) == self.batch]
            rows = self.batches.pop()
            loss = end_to_end_loss(self.model, self.X[rows], self.q[rows], self.U[rows], self.loops)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        if self.X.is_cuda:
            torch.cuda.synchronize()
