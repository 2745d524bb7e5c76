"""What can be believed of vectors and classes: matrices in, numbers in; no network, no images.

`calibration`  probabilities that mean what they say
`conformal`    sets of classes that hold the true one as often as stated
`novelty`      cells and wells unlike all that is known, from the scores of `outliers`
`label_errors` labels that the cells speak against, and training in spite of them
`acquire`      which cells to label next
`imbalance`    offsets and weights for rare classes
`few`          small label sets, and curves of what more labels would bring
`folds`        parts in which movies and plates stay whole
"""
