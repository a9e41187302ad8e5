"""The published recipe: an encoder fine-tuned with contrastive losses (RouteMoA, arXiv 2601.18130). Needs torch."""
