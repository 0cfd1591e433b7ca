"""For those who watch: metrics, Flower, logs of attempts, the lanes as an operator sees them, and the doctor."""
