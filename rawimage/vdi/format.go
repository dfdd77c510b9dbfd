package vdi

import "encoding/binary"

const (
	sectorSize = 512
	headerSize = 0x200 // all that version 1.1 has, as in the file

	signature  = 0xBEDA107F
	version1_1 = 0x00010001

	typeDynamic = 1
	typeStatic  = 2

	// From discarded on an entry has no block: discarded ones were trimmed, free
	// ones never written. Both are zeros.
	discarded = 0xFFFFFFFE

	maxBlockSize = 1 << 30
)

// header is the file's first 512 bytes, from offset 0x40 on. Little endian.
type header struct {
	signature, version     uint32
	imageType              uint32
	mapAt, dataAt          uint32
	sectorSize             uint32
	diskSize               uint64
	blockSize, blockExtra  uint32
	blocks, allocated      uint32
	uuid, linkUUID, parent [16]byte
}

func parseHeader(b []byte) header {
	le := binary.LittleEndian
	return header{
		signature:  le.Uint32(b[0x40:]),
		version:    le.Uint32(b[0x44:]),
		imageType:  le.Uint32(b[0x4C:]),
		mapAt:      le.Uint32(b[0x154:]),
		dataAt:     le.Uint32(b[0x158:]),
		sectorSize: le.Uint32(b[0x168:]),
		diskSize:   le.Uint64(b[0x170:]),
		blockSize:  le.Uint32(b[0x178:]),
		blockExtra: le.Uint32(b[0x17C:]),
		blocks:     le.Uint32(b[0x180:]),
		allocated:  le.Uint32(b[0x184:]),
		uuid:       [16]byte(b[0x188:0x198]),
		linkUUID:   [16]byte(b[0x1A8:0x1B8]),
		parent:     [16]byte(b[0x1B8:0x1C8]),
	}
}
