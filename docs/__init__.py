"""What is written about Paceline; the package `docs.generate` writes the parts that the code knows best."""
