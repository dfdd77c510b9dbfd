// Package depcheck holds the packages of the module apart.
//
// rawimage, bitmap, zvhd2 and uploader each solve one problem and are usable
// without the others; only quickimport joins them. The package has no code of
// its own: its test asks the go command what each of them depends on.
package depcheck
