"""Protocols the engine needs from the world, by what they are about; the shells that satisfy them live in postgres/,
blobs/ and runtimes/, and above."""
