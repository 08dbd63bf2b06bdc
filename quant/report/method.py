"""How everything in a report was found, what it does not say, and its words."""

from quant.report.drawing.elements import Html, join, tag

LIMITS = (
    "Accuracies are of the images named above and of no others. Intervals are 95 %: Wilson's of an "
    "accuracy, Tango's of a difference on the same images. They tell what chance in the choice of "
    "images does, not what other kinds of images would do.",
    "Quantized layers were computed as a chip would: weights and inputs as integers (or what their "
    "quantizer stands for), sums exact. Norms, softmax, activation functions, biases and the sums "
    "between layers stay in float; where the quantizer's name has `stream`, what norms and those "
    "sums give is rounded to integers too.",
    "Size is that of the layers' weights at their bits and of all else as 32-bit floats. BitOps "
    "are multiply-adds times weight bits times activation bits. Neither is a measured latency.",
    "An allocation's expected loss adds up what each layer costs alone. It ranks allocations; the "
    "accuracy was measured.",
    "A heatmap says which places the model's own computation rests on (AttnLRP, read at an early "
    "block), not which ones are right. Two maps that differ need not mean two reasons.",
)
GLOSSARY = {
    "Relevance": "how much a place or a layer carries of a decision: for it, or against it.",
    "LRP": "layer-wise relevance propagation: shares the answer out backwards, layer by layer; "
    "AttnLRP is its form for attention.",
    "Layer": "one matrix product of the model: of weights with inputs, or of two activations in "
    "attention.",
    "Bit width": "of b bits: a number takes one of 2 to the b values.",
    "Quantizer": "what turns numbers into integers: its scale, its zero point, where it clips.",
    "Calibration": "choosing every quantizer from a few images without labels.",
    "Allocation": "the bits of each layer, of its weights and of its activations.",
    "Budget": "what an allocation may spend, in size and in BitOps.",
    "BitOps": "multiply-adds of one image, each times its weight and activation bits.",
    "Sensitivity": "the divergence of the answers when one layer alone has so many bits.",
    "Divergence": "Kullback-Leibler, from float's probabilities, in nats; 0 is no difference.",
    "Points": "a difference of two percentages: from 80 % to 79 % is −1 point.",
    "95 % interval": "made so that it holds the true value in 95 of 100 such measurements.",
    "Uniform": "the same bits in every layer: what any choice has to beat.",
}


def section() -> Html:
    """Return limits and method."""
    return tag("ul", *(tag("li", limit) for limit in LIMITS))


def glossary() -> Html:
    """Return what words mean."""
    entries = [join([tag("dt", word), tag("dd", means)]) for word, means in GLOSSARY.items()]
    return tag("dl", *entries, class_="glossary")
