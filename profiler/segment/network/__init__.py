"""One family of networks: encoder, neck and head, each chosen by a word of the configuration."""
