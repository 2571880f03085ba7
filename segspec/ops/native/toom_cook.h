// Short convolutions with few products: Winograd's minimal filtering, by Toom and Cook's construction.
//
// F(m, r) gives the m outputs of a filter with r taps from t = m + r - 1 products instead of m r. With w a filter, d the t
// inputs that its outputs see, and * element by element:
//
//   y = A ((G w) * (B d))         B (t x t), G (t x r), A (m x t)
//
// A filter and its inputs are taken for polynomials, and are multiplied by their values at t points, of which the last is
// infinity. In two dimensions each transform is applied along both axes, and products are summed over the channels before
// A is: so the sums are one product of matrices for each of the t x t places.
//
// The points decide how far rounding errors grow. (0, 1, -1) need no multiplications; the error of F(2, 3) is below that of
// the direct sum. For six points 0, 2/3, -2/3, 3/2, -3/2 the error of F(4, 3) is about twice the direct sum's, for the usual
// 0, 1, -1, 2, -2 five times. With eight points the error of F(5, 4) is five times the direct sum's.
// Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016.
#pragma once

namespace segspec {
namespace {

template <int rows, int columns>
struct Matrix {
  float at[rows][columns];
};

template <int count>
struct Points {
  double at[count];
};

// The t points of a scheme but for infinity.
template <int t>
constexpr Points<t - 1> choose_points();
template <>
constexpr Points<3> choose_points<4>() {
  return {{0, 1, -1}};
}
template <>
constexpr Points<5> choose_points<6>() {
  return {{0, 2. / 3, -2. / 3, 3. / 2, -3. / 2}};
}

template <>
constexpr Points<7> choose_points<8>() {
  return {{0, 1. / 2, -1. / 2, 1, -1, 2, -2}};
}

constexpr double power(double base, int exponent) { return exponent == 0 ? 1 : base * power(base, exponent - 1); }

// The values of a polynomial with `coefficients` coefficients at all points; at infinity, its last coefficient.
template <int t, int coefficients>
constexpr Matrix<t, coefficients> evaluate() {
  constexpr Points<t - 1> points = choose_points<t>();
  Matrix<t, coefficients> values = {};
  for (int i = 0; i < t - 1; ++i)
    for (int k = 0; k < coefficients; ++k) values.at[i][k] = static_cast<float>(power(points.at[i], k));
  values.at[t - 1][coefficients - 1] = 1;
  return values;
}

// G: the values of the filter, each over the product of its point's distances to all others.
template <int t, int r>
constexpr Matrix<t, r> filter_matrix() {
  constexpr Points<t - 1> points = choose_points<t>();
  Matrix<t, r> values = evaluate<t, r>();
  for (int i = 0; i < t - 1; ++i) {
    double distances = 1;
    for (int j = 0; j < t - 1; ++j)
      if (j != i) distances *= points.at[i] - points.at[j];
    for (int k = 0; k < r; ++k) values.at[i][k] = static_cast<float>(power(points.at[i], k) / distances);
  }
  return values;
}

// B: line i holds the coefficients of the product of x - p over all points p but the i-th; the last line, over all.
template <int t>
constexpr Matrix<t, t> input_matrix() {
  constexpr Points<t - 1> points = choose_points<t>();
  Matrix<t, t> lines = {};
  for (int i = 0; i < t; ++i) {
    double product[t + 1] = {1};
    for (int j = 0; j < t - 1; ++j) {
      if (j == i) continue;
      for (int k = t - 1; k > 0; --k) product[k] = product[k - 1] - points.at[j] * product[k];
      product[0] *= -points.at[j];
    }
    // What is 0 or 1 but for rounding shall be 0 or 1: it then costs no multiplication.
    for (int k = 0; k < t; ++k) {
      const double value = product[k], whole = value < 0 ? -static_cast<double>(static_cast<int>(0.5 - value))
                                                         : static_cast<double>(static_cast<int>(0.5 + value));
      const double rest = value - whole;
      lines.at[i][k] = static_cast<float>(rest < 1e-12 && rest > -1e-12 ? whole : value);
    }
  }
  return lines;
}

template <int rows, int columns>
constexpr Matrix<columns, rows> transpose(const Matrix<rows, columns>& matrix) {
  Matrix<columns, rows> turned = {};
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) turned.at[j][i] = matrix.at[i][j];
  return turned;
}

// F(m, r) and the transposes that the weight gradient needs: from outputs to products, and from products to taps.
template <int m, int r>
struct Scheme {
  static constexpr int outputs = m, taps = r, places = m + r - 1;
  static constexpr Matrix<places, places> input = input_matrix<places>();
  static constexpr Matrix<places, r> filter = filter_matrix<places, r>();
  static constexpr Matrix<places, m> spread = evaluate<places, m>();
  static constexpr Matrix<m, places> output = transpose(spread);
  static constexpr Matrix<r, places> gather = transpose(filter);
};

}  // namespace
}  // namespace segspec
