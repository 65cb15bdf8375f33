import subprocess
vectors.save_word2vec_format("vectors.bin", binary=True)
subprocess.run(["dpq", "compress", "vectors.bin", "vectors.dpq"], check=True)
vectors.vectors = read_table("vectors.dpq")
vectors.fill_norms(force=True)
