use super::{BatchNorm2d, Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, ReLU};
use crate::layers;

/// The network of the course notebook for 28x28 grey images `[N, 1, 28, 28]`: three convolutions,
/// two linear layers, one logit for each of `classes`. 404,099 parameters for 24 letters.
pub fn asl(classes: usize) -> Vec<Layer> {
    layers![
        Conv2d::new(1, 25, 3).padding(1),
        BatchNorm2d::new(25),
        ReLU,
        MaxPool2d::new(2),
        Conv2d::new(25, 50, 3).padding(1),
        BatchNorm2d::new(50),
        ReLU,
        Dropout::new(0.2),
        MaxPool2d::new(2),
        Conv2d::new(50, 75, 3).padding(1),
        BatchNorm2d::new(75),
        ReLU,
        MaxPool2d::new(2),
        Flatten,
        Linear::new(75 * 3 * 3, 512),
        Dropout::new(0.3),
        ReLU,
        Linear::new(512, classes),
    ]
}
