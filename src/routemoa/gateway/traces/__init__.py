"""Kept answers: their traces, what callers say of them, and conversations that go on from one."""
