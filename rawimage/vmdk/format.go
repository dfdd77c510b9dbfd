package vmdk

import "encoding/binary"

const (
	sectorSize = 512
	headerSize = 512

	sparseMagic = "KDMV"
	cowdMagic   = "COWD"
	gzipMagic   = "\x1f\x8b\x08"

	flagZeroedGrain = 1 << 2  // table entry 1 is a grain of zeros
	flagCompressed  = 1 << 16 // grains are deflated
	flagMarkers     = 1 << 17 // grains have their place on the disk in front

	atEnd = 0xFFFFFFFFFFFFFFFF // directory offset: the footer knows

	markerFooter = 3
	deflate      = 1 // the compression algorithm, RFC 1950

	// maxGrain bounds a compressed grain, which has to be held in memory. All
	// writers use 64 KiB.
	maxGrain = 2 << 20
	// maxEntries bounds a grain table. All writers use 512 entries, and qemu
	// takes no more.
	maxEntries = 8192
)

// header of a sparse extent, little endian. All places are sectors.
type header struct {
	version      uint32
	flags        uint32
	capacity     uint64
	grain        uint64
	descriptorAt uint64
	descriptorN  uint64
	entries      uint32 // in a grain table
	directoryAt  uint64
	unclean      bool
	compression  uint16
}

func parseHeader(b []byte) header {
	le := binary.LittleEndian
	return header{
		version:      le.Uint32(b[4:]),
		flags:        le.Uint32(b[8:]),
		capacity:     le.Uint64(b[12:]),
		grain:        le.Uint64(b[20:]),
		descriptorAt: le.Uint64(b[28:]),
		descriptorN:  le.Uint64(b[36:]),
		entries:      le.Uint32(b[44:]),
		directoryAt:  le.Uint64(b[56:]),
		unclean:      b[72] != 0,
		compression:  le.Uint16(b[77:]),
	}
}
