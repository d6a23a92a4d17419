PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-demo test-lowest test-opencv5 test-faults bench lint detector sample clean

help:  ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: .venv/installed detector sample  ## from nothing to a labelled video: demo/demo.mp4
	$(BIN)/python gather_examples.py -i videos/real.mp4 -o demo/dataset/real -s 2
	$(BIN)/python gather_examples.py -i videos/fake.mp4 -o demo/dataset/fake -s 2
	$(BIN)/python train.py -d demo/dataset -m demo/liveness.model -l demo/le.pickle \
		-p demo/plot.png --export demo/liveness.onnx
	$(BIN)/python liveness_demo.py -m demo/liveness.model -l demo/le.pickle \
		-i videos/both.mp4 -o demo/demo.mp4 --no-display
	@echo "Look at demo/demo.mp4, and at what the training says in demo/plot.png."

test: .venv/installed-dev detector  ## run the tests
	$(BIN)/python -m pytest -n auto --dist worksteal

test-demo: demo .venv-demo/installed  ## run the demo where nothing but requirements-demo.txt is
	.venv-demo/bin/python liveness_demo.py -m demo/liveness.onnx -l demo/le.pickle \
		-i videos/both.mp4 -o demo/demo-onnx.mp4 --no-display

test-lowest: detector  ## run the tests with the oldest versions that requirements.txt admits
	$(PYTHON) -m venv --clear .venv-lowest
	sed -E 's/^([a-z0-9-]+)>=([0-9.]+).*/\1==\2.*/' requirements.txt > .venv-lowest/r.txt
	.venv-lowest/bin/pip install --quiet -r .venv-lowest/r.txt -r requirements-dev.txt
	.venv-lowest/bin/python -m pytest -n auto --dist worksteal

test-opencv5: detector  ## run the tests with OpenCV 5
	$(PYTHON) -m venv --clear .venv-opencv5
	sed 's/^opencv-python.*/opencv-python>=5,<6/' requirements.txt > .venv-opencv5/r.txt
	.venv-opencv5/bin/pip install --quiet -r .venv-opencv5/r.txt -r requirements-dev.txt
	.venv-opencv5/bin/python -m pytest -n auto --dist worksteal

test-faults: .venv/installed-dev detector  ## damage, kill and starve it more often
	FAULTS=full $(BIN)/python -m pytest -n auto --dist worksteal tests/faults

bench: .venv/installed-dev detector  ## time it beside the tutorial's own loops; takes an hour
	$(BIN)/python -m benchmarks

lint: .venv/installed-dev  ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

detector: .venv/installed  ## fetch the face detectors into face_detector/
	$(BIN)/python -m pyimagesearch.fetch

sample: .venv/installed  ## write sample videos into videos/
	$(BIN)/python -m videos.make_sample

clean:  ## remove the environment, caches and what `make demo` made; your files stay
	rm -rf .venv .venv-demo .venv-lowest .venv-opencv5 demo benchmarks/data tests/data .pytest_cache .ruff_cache \
		build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) \
		else "Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] \
		+ "; choose one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.txt
	@touch $@

.venv-demo/installed: requirements-demo.txt
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/pip install --quiet -r requirements-demo.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(BIN)/pip install --quiet -r requirements-dev.txt
	@touch $@
