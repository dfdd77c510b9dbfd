// Package wire is the arithmetic that writing bitmaps and inferring their layouts
// have in common.
package wire

import "encoding/binary"

// BufferSize is the size of the buffer that Encode writes through, in bytes. A
// bufio.Writer of that size is used as it is, so a caller can reuse one.
const BufferSize = 64 << 10

// CeilDiv returns a/b rounded up, for a not negative.
func CeilDiv(a, b int64) int64 {
	n := a / b
	if a%b != 0 {
		n++
	}
	return n
}

// Pick returns yes or no.
func Pick[T any](b bool, yes, no T) T {
	if b {
		return yes
	}
	return no
}

// PutNumber writes v into all of p, and reports whether it fits.
func PutNumber(p []byte, v int64, big bool) bool {
	var buf [8]byte
	if big {
		binary.BigEndian.PutUint64(buf[:], uint64(v))
		copy(p, buf[8-len(p):])
	} else {
		binary.LittleEndian.PutUint64(buf[:], uint64(v))
		copy(p, buf[:])
	}
	return v >= 0 && (len(p) == 8 || v < 1<<(8*len(p)))
}

// GetNumber reads the number that is all of p.
func GetNumber(p []byte, big bool) uint64 {
	var buf [8]byte
	if big {
		copy(buf[8-len(p):], p)
		return binary.BigEndian.Uint64(buf[:])
	}
	copy(buf[:], p)
	return binary.LittleEndian.Uint64(buf[:])
}

// Padding returns how many bytes n is short of a multiple of pad, a power of two.
func Padding(n, pad int64) int64 { return -n & (pad - 1) }

// Units returns the length of a run at off in units. Unless clip is set, one that
// ends with the disk of size bytes reaches to the end of its last block. With a
// unit of 512 and clip a last sector that is not whole counts.
func Units(off, length, size, blockSize, unit int64, clip bool) int64 {
	if !clip && off+length == size {
		length = CeilDiv(size, blockSize)*blockSize - off
	}
	return CeilDiv(length, unit)
}
