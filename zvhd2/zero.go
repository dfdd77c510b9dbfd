package zvhd2

import "bytes"

// zeroRun is what blocks are compared with: small enough to stay in the first
// level cache, so that the comparison runs at the speed the block is read.
var zeroRun [16 << 10]byte

// isZero reports whether b holds nothing but zeros.
func isZero(b []byte) bool {
	for len(b) > len(zeroRun) {
		if !bytes.Equal(b[:len(zeroRun)], zeroRun[:]) {
			return false
		}
		b = b[len(zeroRun):]
	}
	return bytes.Equal(b, zeroRun[:len(b)])
}
