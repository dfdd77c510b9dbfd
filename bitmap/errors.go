package bitmap

import (
	"fmt"
	"io/fs"

	"github.com/fastimage/fastimage/internal/pkgerr"

	"github.com/fastimage/fastimage/internal/imageerr"
)

// pkg makes the errors of this package.
const pkg = pkgerr.Package("bitmap")

// FormatError reports where an encoded bitmap is not what its layout requires for
// the disk. Its Format is "mf", its Field "header", "bits", "padding", "runs" or
// "list", and its Kind ErrDamaged or ErrTruncated.
//
// A mistake of the caller, such as a negative size or an invalid layout, is not a
// FormatError: it matches [fs.ErrInvalid].
type FormatError = imageerr.Error

// The kinds of a [FormatError], for errors.Is. All image formats share them.
var (
	ErrDamaged   = imageerr.ErrDamaged   // not a bitmap of this disk in this layout
	ErrTruncated = imageerr.ErrTruncated // the input ends early
)

// ErrCoverage means that a bitmap calls a block empty that holds data.
var ErrCoverage = pkg.New("data outside the bitmap")

const format = imageerr.Format("mf")

// invalid returns the error of a caller's mistake.
func invalid(text string, args ...any) error {
	return pkg.Errorf("%s: %w", fmt.Sprintf(text, args...), fs.ErrInvalid)
}

// LayoutError names the part of a layout that makes no sense, or that cannot
// express a bitmap. It matches [fs.ErrInvalid].
type LayoutError struct {
	Field  string // as in the text form: "block", "pad", ...
	Reason string // what is wrong with it
}

// Error implements error.
func (e *LayoutError) Error() string { return "bitmap: " + e.Text() }

// Text is the message without the name of the package.
func (e *LayoutError) Text() string { return fmt.Sprintf("layout: %s: %s", e.Field, e.Reason) }

// Unwrap returns fs.ErrInvalid.
func (e *LayoutError) Unwrap() error { return fs.ErrInvalid }

// CoverageError reports that a bitmap calls blocks empty that hold data. Whoever
// restores the disk by it loses them. It matches [ErrCoverage].
type CoverageError struct {
	Block     int64 // the first such block
	Offset    int64 // of it on the disk, in bytes
	BlockSize int64 // of the bitmap that was to be covered
	Blocks    int64 // how many there are
}

// Error implements error.
func (e *CoverageError) Error() string { return "bitmap: " + e.Text() }

// Text is the message without the name of the package.
func (e *CoverageError) Text() string {
	return fmt.Sprintf("%d blocks of %d bytes hold data but are called empty, the first at disk offset %d: the bitmap is not of this image",
		e.Blocks, e.BlockSize, e.Offset)
}

// Unwrap returns ErrCoverage.
func (e *CoverageError) Unwrap() error { return ErrCoverage }
