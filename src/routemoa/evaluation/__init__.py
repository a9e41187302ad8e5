"""What a mixture is worth, beside what anybody would ask about: one model, a fixed panel, chance, an oracle."""
