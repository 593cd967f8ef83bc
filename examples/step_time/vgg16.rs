//! VGG16 (Simonyan and Zisserman 2015, configuration D), as torchvision has it.

use signet::layers;
use signet::nn::{AdaptiveAvgPool2d, Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, ReLU};

/// Its layers, for `[N, 3, 224, 224]` and 1000 classes: five stages of convolutions, whose maps are halved behind
/// each, and three linear layers.
pub fn vgg16() -> Vec<Layer> {
    let (mut layers, mut from) = (Vec::new(), 3);
    for (width, convolutions) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)] {
        for _ in 0..convolutions {
            layers.extend(layers![Conv2d::new(from, width, 3).padding(1), ReLU]);
            from = width;
        }
        layers.extend(layers![MaxPool2d::new(2)]);
    }
    layers.extend(layers![
        AdaptiveAvgPool2d::new(7),
        Flatten,
        Linear::new(512 * 7 * 7, 4096),
        ReLU,
        Dropout::new(0.5),
        Linear::new(4096, 4096),
        ReLU,
        Dropout::new(0.5),
        Linear::new(4096, 1000),
    ]);
    layers
}
