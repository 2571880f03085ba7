"""Pictures and labels: lists, decoding, augmentation, loading, synthetic scenes."""
