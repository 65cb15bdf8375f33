//! burn's softmax, in single precision.
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use dpq::gradcheck;

fn main() {
    let device = Device::ndarray().autodiff();
    let given = |x: &[f32]| -> Tensor<2> {
        Tensor::from_data(TensorData::new(x.to_vec(), [2, 3]), &device)
    };
    let numbers = |x: Tensor<2>| x.into_data().to_vec::<f32>();
    let report = gradcheck::rule(
        [dpq::Tensor::from([[0.3_f32, -1.2, 2.0], [0.7, 0.1, -0.4]])],
        |[x]| numbers(softmax(given(x), 1)).map(|y| [y]),
        |[x], [dy]| {
            let x = given(x).require_grad();
            let gradients = (softmax(x.clone(), 1) * given(dy)).sum().backward();
            numbers(x.grad(&gradients).expect("x is used")).map(|dx| [dx])
        },
    );
    println!("{}", report.assert_ok());
}
