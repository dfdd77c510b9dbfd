package qcow2

import "math/bits"

// Values of the header. Offsets are those of docs/interop/qcow2 of QEMU.
const (
	qcowMagic = 0x514649fb // "QFI\xfb"

	headerLen2 = 72  // version 2: exactly
	headerLen3 = 104 // version 3: at least

	offVersion          = 4
	offBackingOffset    = 8
	offBackingSize      = 16
	offClusterBits      = 20
	offSize             = 24
	offCrypt            = 32
	offL1Size           = 36
	offL1Offset         = 40
	offRefcount         = 48
	offRefcountClusters = 56
	offNumSnapshots     = 60
	offSnapshots        = 64
	offIncompatible     = 72
	offCompatible       = 80
	offAutoclear        = 88
	offRefcountOrder    = 96
	offHeaderLen        = 100
	offCompression      = 104
)

// Limits, those of QEMU.
const (
	minClusterBits = 9
	maxClusterBits = 21
	minExtL2Bits   = 14
	maxL1Bytes     = 32 << 20
	maxSnapshots   = 65536
	maxBackingName = 1023
	maxDataName    = 4096
	maxFormatName  = 15
	sectorSize     = 512
)

// Incompatible feature bits.
const (
	featDirty = 1 << iota
	featCorrupt
	featDataFile
	featCompression
	featExtendedL2

	featKnown = 1<<iota - 1
)

// Compatible and autoclear feature bits.
const (
	compatLazyRefcounts = 1 << 0
	autoclearBitmaps    = 1 << 0
	autoclearRawData    = 1 << 1
)

// Types of header extensions.
const (
	extEnd           = 0
	extBackingFormat = 0xe2792aca
	extFeatureNames  = 0x6803f857
	extDataFile      = 0x44415441
)

// Entries of the tables.
const (
	offsetMask     = 0x00fffffffffffe00 // bits 9-55
	flagCopied     = 1 << 63
	flagCompressed = 1 << 62
	flagZero       = 1 << 0

	subclusters = 32 // in a cluster, with extended L2 entries
)

// Compression types.
const (
	compressionZlib = 0
	compressionZstd = 1
)

// geometry is what follows from the cluster size and the kind of L2 entries.
type geometry struct {
	clusterBits uint
	clusterSize int64
	entrySize   int64 // of an L2 entry: 8, or 16 when extended
	extended    bool
	unit        int64 // smallest part with a state of its own: (sub)cluster
	l2Entries   int64
	l2Span      int64 // bytes of the disk an L2 table maps
	sliceSize   int64 // bytes of an L2 table read at once
	sliceSpan   int64 // bytes of the disk these map
	// Compressed cluster descriptor: the offset is below bit sectorShift,
	// the number of further sectors above it.
	sectorShift uint
	sectorMask  uint64
}

func newGeometry(clusterBits uint, extended bool) geometry {
	g := geometry{clusterBits: clusterBits, clusterSize: 1 << clusterBits, entrySize: 8, extended: extended}
	g.unit = g.clusterSize
	if extended {
		g.entrySize = 16
		g.unit = g.clusterSize / subclusters
	}
	g.l2Entries = g.clusterSize / g.entrySize
	g.l2Span = g.l2Entries << clusterBits
	g.sliceSize = min(g.clusterSize, sliceSize)
	g.sliceSpan = g.sliceSize / g.entrySize << clusterBits
	g.sectorShift = 62 - (clusterBits - 8)
	g.sectorMask = 1<<(clusterBits-8) - 1
	return g
}

// l1Needed is the number of L1 entries a disk of size bytes has. The largest
// l2Span is 2^39, so the sum does not overflow for sizes that pass size checks.
func (g geometry) l1Needed(size int64) int64 {
	n := size / g.l2Span
	if size%g.l2Span != 0 {
		n++
	}
	return n
}

// compressed splits a compressed cluster descriptor. The length is that of the
// sectors the data is in, so an upper bound; at most two clusters.
func (g geometry) compressed(entry uint64) (off, length int64) {
	off = int64(entry & (1<<g.sectorShift - 1))
	sectors := int64(entry>>g.sectorShift&g.sectorMask) + 1
	return off, sectors*sectorSize - off%sectorSize
}

// lowestBit is the number of the lowest bit set.
func lowestBit(x uint64) int { return bits.TrailingZeros64(x) }
