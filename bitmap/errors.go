package bitmap

import (
	"errors"
	"fmt"
)

// Conditions, for use with errors.Is.
var (
	// ErrLayout: a Layout that makes no sense, or cannot express this bitmap.
	ErrLayout = errors.New("bitmap: invalid layout")
	// ErrFormat: bytes that are not a bitmap of this disk in this layout.
	ErrFormat = errors.New("bitmap: not a bitmap of this disk in this layout")
	// ErrGeometry: two bitmaps of different disk or block sizes.
	ErrGeometry = errors.New("bitmap: bitmaps differ in disk or block size")
	// ErrCoverage: a block with data that a bitmap calls empty.
	ErrCoverage = errors.New("bitmap: data outside the bitmap")
	// ErrSize: a disk or block size out of range.
	ErrSize = errors.New("bitmap: size out of range")
)

// LayoutError names the part of a layout that is wrong. It is ErrLayout by
// errors.Is.
type LayoutError struct {
	Field  string // as in the text form: "block", "pad", ...
	Reason string // what is wrong with it
}

// Error implements error.
func (e *LayoutError) Error() string { return fmt.Sprintf("bitmap: layout: %s: %s", e.Field, e.Reason) }

// Is reports whether target is ErrLayout.
func (e *LayoutError) Is(target error) bool { return target == ErrLayout }

// FormatError says where an encoded bitmap is not what its layout asks for. It
// is ErrFormat by errors.Is.
type FormatError struct {
	Offset int64  // in the encoded bitmap
	Field  string // "header", "bits", "padding", "runs", "list"
	Reason string // what is wrong there
}

// Error implements error.
func (e *FormatError) Error() string {
	return fmt.Sprintf("bitmap: %s at byte %d: %s", e.Field, e.Offset, e.Reason)
}

// Is reports whether target is ErrFormat.
func (e *FormatError) Is(target error) bool { return target == ErrFormat }

// CoverageError: a bitmap calls blocks empty that hold data. Who restores the
// disk by it loses them. It is ErrCoverage by errors.Is.
type CoverageError struct {
	Block     int64 // the first such block
	Offset    int64 // of it on the disk, in bytes
	BlockSize int64 // of the bitmap that was to be covered
	Blocks    int64 // how many there are
}

// Error implements error.
func (e *CoverageError) Error() string {
	return fmt.Sprintf("bitmap: %d blocks of %d bytes hold data but are called empty, the first at disk offset %d: the bitmap is not of this image",
		e.Blocks, e.BlockSize, e.Offset)
}

// Is reports whether target is ErrCoverage.
func (e *CoverageError) Is(target error) bool { return target == ErrCoverage }

// GeometryError: two bitmaps that cannot be combined. It is ErrGeometry by
// errors.Is.
type GeometryError struct {
	Size, OtherSize           int64 // of the disks, in bytes
	BlockSize, OtherBlockSize int64 // in bytes
}

// Error implements error.
func (e *GeometryError) Error() string {
	return fmt.Sprintf("bitmap: a disk of %d bytes in blocks of %d against one of %d bytes in blocks of %d",
		e.Size, e.BlockSize, e.OtherSize, e.OtherBlockSize)
}

// Is reports whether target is ErrGeometry.
func (e *GeometryError) Is(target error) bool { return target == ErrGeometry }

// SizeError: a size out of range. It is ErrSize by errors.Is.
type SizeError struct {
	Field string // "size", "block size", "blocks"
	Value int64  // bytes, or a number of blocks
}

// Error implements error.
func (e *SizeError) Error() string {
	return fmt.Sprintf("bitmap: %s %d is out of range", e.Field, e.Value)
}

// Is reports whether target is ErrSize.
func (e *SizeError) Is(target error) bool { return target == ErrSize }
