"""What a trained net is worth: predictions, measures, pictures, and the statistics it infers with."""
