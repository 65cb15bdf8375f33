import subprocess
import numpy
numpy.save("vectors.npy", nlp.vocab.vectors.data)
subprocess.run(["dpq", "compress", "vectors.npy", "vectors.dpq"], check=True)
nlp.vocab.vectors.data = read_table("vectors.dpq")
