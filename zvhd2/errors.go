package zvhd2

import (
	"errors"
	"fmt"
	"strings"
)

// Conditions, for errors.Is.
var (
	// ErrFormat means that the file contradicts the format.
	ErrFormat = errors.New("zvhd2: invalid format")
	// ErrChecksum means that a structure does not match its checksum.
	ErrChecksum = errors.New("zvhd2: checksum mismatch")
	// ErrUnsupported means a version, block size or method that is not known.
	ErrUnsupported = errors.New("zvhd2: unsupported")
	// ErrTruncated means that the file ends early; [Recover] may save what
	// is whole.
	ErrTruncated = errors.New("zvhd2: file cut short")
	// ErrPayload means that a block does not decompress to its size.
	ErrPayload = errors.New("zvhd2: damaged payload")
	// ErrOption means an option out of range or in conflict with another.
	ErrOption = errors.New("zvhd2: invalid option")
	// ErrSize means a disk size out of range.
	ErrSize = errors.New("zvhd2: disk size out of range")
	// ErrSource means that the source breaks the contract of its interface.
	ErrSource = errors.New("zvhd2: source misbehaves")
)

// NoBlock is the Block of a [FormatError] or [Problem] that concerns no block.
const NoBlock = -1

// FormatError tells what is wrong with a file and where.
type FormatError struct {
	Offset int64  // in the file, of the field or structure
	Field  string // as the format names it
	Block  int64  // the disk's block concerned, or NoBlock
	Err    error  // wraps one of the conditions above
}

// Error implements error.
func (e *FormatError) Error() string {
	msg := strings.TrimPrefix(e.Err.Error(), "zvhd2: ")
	if e.Block == NoBlock {
		return fmt.Sprintf("zvhd2: %s at offset %d: %s", e.Field, e.Offset, msg)
	}
	return fmt.Sprintf("zvhd2: block %d: %s at offset %d: %s", e.Block, e.Field, e.Offset, msg)
}

// Unwrap returns Err.
func (e *FormatError) Unwrap() error { return e.Err }

func fieldErr(off int64, field string, cond error, format string, args ...any) *FormatError {
	return blockErr(NoBlock, off, field, cond, format, args...)
}

func blockErr(block, off int64, field string, cond error, format string, args ...any) *FormatError {
	return &FormatError{
		Offset: off, Field: field, Block: block,
		Err: fmt.Errorf("%w: %s", cond, fmt.Sprintf(format, args...)),
	}
}
