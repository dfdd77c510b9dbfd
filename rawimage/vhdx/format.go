package vhdx

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
)

const (
	mib = 1 << 20

	fileSignature = "vhdxfile"
	headSize      = 4096
	header1At     = 64 << 10
	header2At     = 128 << 10
	region1At     = 192 << 10
	region2At     = 256 << 10
	regionSize    = 64 << 10
	tablesEnd     = 1 * mib // nothing else is before
	metadataTable = 64 << 10
	maxEntries    = 2047

	minBlock = 1 * mib
	maxBlock = 256 * mib
	maxSize  = 64 << 40

	logSector = 4096

	// States of a block in the allocation table. Only the last has data of its
	// own; what was trimmed, or never defined, is zeros as for qemu.
	stateNotPresent = 0
	stateUndefined  = 1
	stateZero       = 2
	stateUnmapped   = 3
	stateUnmapped95 = 5 // of drafts of the format
	statePresent    = 6
	statePartial    = 7
)

type guid [16]byte

// guidOf parses the usual text, whose first three groups are little endian in
// the file.
func guidOf(s string) guid {
	b, err := hex.DecodeString(s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:])
	if err != nil {
		panic(err) // one of the constants below
	}
	g := guid(b)
	binary.LittleEndian.PutUint32(g[:], binary.BigEndian.Uint32(b))
	binary.LittleEndian.PutUint16(g[4:], binary.BigEndian.Uint16(b[4:]))
	binary.LittleEndian.PutUint16(g[6:], binary.BigEndian.Uint16(b[6:]))
	return g
}

var (
	batGUID      = guidOf("2DC27766-F623-4200-9D64-115E9BFD4A08")
	metadataGUID = guidOf("8B7CA206-4790-4B9A-B8FE-575F050F886E")

	fileParametersGUID = guidOf("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
	diskSizeGUID       = guidOf("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
	diskIDGUID         = guidOf("BECA12AB-B2E6-4523-93EF-C309E000C746")
	logicalGUID        = guidOf("8141BF1D-A96F-4709-BA47-F233A8FAAB5F")
	physicalGUID       = guidOf("CDA348C7-445D-4471-9CC9-E9885251C556")
	parentGUID         = guidOf("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksumOK verifies the CRC-32C at offset 4, which counts as zeros itself.
func checksumOK(b []byte) bool {
	var zero [4]byte
	sum := crc32.Update(0, castagnoli, b[:4])
	sum = crc32.Update(sum, castagnoli, zero[:])
	sum = crc32.Update(sum, castagnoli, b[8:])
	return sum == binary.LittleEndian.Uint32(b[4:])
}

// header is one of the two at 64 and 128 KiB, little endian.
type header struct {
	at        int64
	sequence  uint64
	logGUID   guid
	version   uint16
	logLength uint32
	logAt     uint64
}

func parseHeader(b []byte, at int64) header {
	le := binary.LittleEndian
	return header{
		at:        at,
		sequence:  le.Uint64(b[8:]),
		logGUID:   guid(b[48:64]),
		version:   le.Uint16(b[66:]),
		logLength: le.Uint32(b[68:]),
		logAt:     le.Uint64(b[72:]),
	}
}
