package vhd

import (
	"encoding/binary"
	"time"
)

const (
	sectorSize = 512
	footerSize = 512
	headerSize = 1024

	footerCookie = "conectix"
	headerCookie = "cxsparse"

	typeFixed        = 2
	typeDynamic      = 3
	typeDifferencing = 4

	// maxGeometry is 65535 cylinders of 16 heads of 255 sectors: the most the
	// footer's geometry can say, and so the sign that it does not say it all.
	maxGeometry = 65535 * 16 * 255
)

// epoch is the zero of the footer's clock.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// footer is the 512 byte structure at the end of every VHD, copied to the
// beginning of a dynamic one. Big endian.
type footer struct {
	dataOffset  uint64
	timestamp   uint32
	creatorApp  string
	currentSize uint64
	cylinders   uint16
	heads       uint8
	sectors     uint8
	diskType    uint32
	uuid        [16]byte
	saved       bool
}

func parseFooter(b []byte) footer {
	be := binary.BigEndian
	return footer{
		dataOffset:  be.Uint64(b[16:]),
		timestamp:   be.Uint32(b[24:]),
		creatorApp:  string(b[28:32]),
		currentSize: be.Uint64(b[48:]),
		cylinders:   be.Uint16(b[56:]),
		heads:       b[58],
		sectors:     b[59],
		diskType:    be.Uint32(b[60:]),
		uuid:        [16]byte(b[68:84]),
		saved:       b[84] != 0,
	}
}

// checksumOK: the one's complement of the sum of all bytes but the field's own.
func checksumOK(b []byte, field int) bool {
	var sum uint32
	for i, c := range b {
		if i < field || i >= field+4 {
			sum += uint32(c)
		}
	}
	return ^sum == binary.BigEndian.Uint32(b[field:])
}
