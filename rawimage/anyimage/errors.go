package anyimage

import (
	"errors"
	"fmt"

	"github.com/fastimage/fastimage/internal/pkgerr"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/rawimage"
)

// pkg makes the errors of this package.
const pkg = pkgerr.Package("anyimage")

// Conditions, for use with errors.Is.
var (
	// ErrUnsupported: the format is known and not read here, or the image uses
	// something that is not read. It is the same value as rawimage.ErrUnsupported.
	ErrUnsupported = imageerr.ErrUnsupported
	// ErrCompressed: the file is compressed, so it has no bytes at fixed places;
	// OpenStream or OpenAny reads it.
	ErrCompressed = pkg.New("image is compressed")
	// ErrSize: a disk is not as large as was said, or larger than allowed.
	ErrSize = pkg.New("disk has another size")
	// ErrTooLarge: a disk is larger than allowed. It is ErrSize too.
	ErrTooLarge = pkg.New("disk is larger than allowed")
)

// FormatError reports what is wrong with an image, and where. It is one type in
// all packages that read images. Of a compressed file, Format is that of the
// compression and Field "compressed data".
type FormatError = imageerr.Error

// OpenError says which image could not be opened or read as what. Err is an error
// of the format's package, mostly a *[FormatError].
type OpenError struct {
	Name   string          // "" for a source without a name
	Format rawimage.Format // what it was taken for
	Err    error           // of the format's package
}

// Error implements error.
func (e *OpenError) Error() string { return "anyimage: " + e.Text() }

// Text is the message without the name of the package.
func (e *OpenError) Text() string {
	// The format's package says its name itself, in most cases.
	if _, ok := errors.AsType[*FormatError](e.Err); ok {
		return named(e.Name) + ": " + pkgerr.Text(e.Err)
	}
	return fmt.Sprintf("%s: %s: %s", named(e.Name), e.Format, pkgerr.Text(e.Err))
}

// Unwrap returns Err.
func (e *OpenError) Unwrap() error { return e.Err }

// UnsupportedError means that the image is of a format that is not read, or that is not
// read by the function called. It is ErrUnsupported by errors.Is, and
// ErrCompressed if OpenStream or OpenAny reads it. Format.Command has the command
// that converts it, if there is one.
type UnsupportedError struct {
	Name   string          // "" for a source without a name
	Format rawimage.Format // of the image
	Inside rawimage.Format // what it was found in: gzip, xz, zstd, ..., or ""
}

// Error implements error.
func (e *UnsupportedError) Error() string { return "anyimage: " + e.Text() }

// Text is the message without the name of the package.
func (e *UnsupportedError) Text() string {
	name := named(e.Name)
	switch {
	case e.Inside != "":
		return fmt.Sprintf("%s is %s, inside of %s", name, e.Format.Description(), e.Inside)
	case compressed(e.Format):
		return fmt.Sprintf("%s is %s, which can only be read from start to end", name, e.Format.Description())
	}
	return fmt.Sprintf("%s is %s, which is not supported", name, e.Format.Description())
}

// Is reports whether target is ErrUnsupported, or ErrCompressed and OpenAny reads
// the image.
func (e *UnsupportedError) Is(target error) bool {
	return target == ErrUnsupported || target == ErrCompressed && e.readable()
}

// readable reports whether OpenAny reads the image: a compressed file, also in an
// archive, or an image in a compressed file.
func (e *UnsupportedError) readable() bool {
	if e.Inside == "" || e.Inside == rawimage.FormatOVA {
		return compressed(e.Format)
	}
	return openers[e.Format] != nil
}

// SizeError means that a disk has fewer or more bytes than it was opened for, or more than
// allowed. It is ErrSize by errors.Is.
type SizeError struct {
	Name  string // of the image
	Want  int64  // bytes
	Got   int64  // bytes it has, -1 if only known to be more
	Limit bool   // Want is the most that is allowed: see WithMaxSize
}

// Error implements error.
func (e *SizeError) Error() string { return "anyimage: " + e.Text() }

// Text is the message without the name of the package.
func (e *SizeError) Text() string {
	switch {
	case e.Limit && e.Got < 0:
		return fmt.Sprintf("%s is larger than %d bytes when decompressed, the most allowed", named(e.Name), e.Want)
	case e.Limit:
		return fmt.Sprintf("%s holds a disk of %d bytes, more than the %d allowed", named(e.Name), e.Got, e.Want)
	case e.Got < 0:
		return fmt.Sprintf("%s has more than the %d bytes decompressed that it was opened for", e.Name, e.Want)
	}
	return fmt.Sprintf("%s holds a disk of %d bytes, not of the %d it was opened for", e.Name, e.Got, e.Want)
}

// Is reports whether target is ErrSize, or ErrTooLarge and applies.
func (e *SizeError) Is(target error) bool {
	return target == ErrSize || target == ErrTooLarge && e.Limit
}

func named(name string) string {
	if name == "" {
		return "image"
	}
	return name
}
