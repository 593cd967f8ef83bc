#!/usr/bin/env python3
"""Compares an ONNX file of `signet export` with the logits that Signet itself computed.

  check_onnx.py MODEL.onnx EXAMPLES.safetensors

  signet export runs/asl-1 --onnx MODEL.onnx --examples EXAMPLES.safetensors

writes both. EXAMPLES holds `images` [N, 1, 28, 28], or what else the model's input is called, and `logits`
[N, classes]. Prints the largest difference as a
share of the largest logit, and fails (exit code 1) above 1e-5. Needs onnxruntime, numpy and
safetensors.
"""

import sys

try:
    import numpy
    import onnxruntime
    from safetensors.numpy import load_file
except ImportError as error:
    sys.exit(f"check_onnx.py: {error} (`pip install onnxruntime numpy safetensors`)")


def main(model, examples):
    examples = load_file(examples)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (name,) = (given.name for given in session.get_inputs())
    inputs, logits = examples[name], examples["logits"]
    (answer,) = session.run(["logits"], {name: inputs})
    classes = session.get_modelmeta().custom_metadata_map["classes"].split("\n")
    if answer.shape != logits.shape or len(classes) != logits.shape[1]:
        sys.exit(f"logits {answer.shape} and {len(classes)} classes, expected {logits.shape}")
    difference = numpy.abs(answer - logits).max() / numpy.abs(logits).max()
    same = (answer.argmax(1) == logits.argmax(1)).all()
    print(f"{len(inputs)} {name}: largest difference {difference:.2e}, the same answers: {bool(same)}")
    if not difference <= 1e-5:
        sys.exit(1)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
