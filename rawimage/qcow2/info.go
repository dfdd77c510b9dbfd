package qcow2

import (
	"io"
	"slices"

	"github.com/fastimage/fastimage/internal/imagefmt"
)

// Info is what an image says of itself.
type Info struct {
	Version        int    // 2 or 3
	Size           int64  // of the disk, as Reader.Size
	DiskSize       int64  // what the header says: the last sector may not be whole
	ClusterSize    int64  // 512 bytes to 2 MiB
	SubclusterSize int64  // 0 without extended L2 entries
	Compression    string // "zlib" or "zstd", of clusters that are compressed
	RefcountBits   int    // 1 to 64, width of a reference count

	// Features names the bits that are set, of all three sets.
	Features      []string
	Dirty         bool // reference counts may be wrong; the disk is not
	Corrupt       bool // damage was found by whoever had the image open
	LazyRefcounts bool // reference counts may be written late
	ExtendedL2    bool // clusters have 32 subclusters

	ExternalData    bool   // clusters are in an external data file
	RawExternalData bool   // which is a RAW image by itself
	DataFile        string // name of that file, "" without one
	BackingFile     string // "" without one
	BackingFormat   string // "" when the image does not say

	Snapshots     []Snapshot // the first 1024
	SnapshotCount int        // all of them
}

func (i *Info) clone() Info {
	c := *i
	c.Features = slices.Clone(c.Features)
	c.Snapshots = slices.Clone(c.Snapshots)
	return c
}

// ReadInfo returns what the image of size bytes in ra says of itself without
// going to its disk, so also of an image that needs other files.
func ReadInfo(ra io.ReaderAt, size int64) (*Info, error) {
	if err := imagefmt.CheckSource("qcow2", ra, size); err != nil {
		return nil, err
	}
	h, err := parseHeader(ra, size)
	if err != nil {
		return nil, err
	}
	return newInfo(ra, size, h)
}

func newInfo(ra io.ReaderAt, size int64, h *header) (*Info, error) {
	snapshots, err := readSnapshots(ra, size, h)
	if err != nil {
		return nil, err
	}
	i := &Info{
		Version:         h.version,
		Size:            h.size,
		DiskSize:        int64(h.rawSize),
		ClusterSize:     h.geo.clusterSize,
		Compression:     "zlib",
		RefcountBits:    1 << h.refcountOrder,
		Dirty:           h.incompatible&featDirty != 0,
		Corrupt:         h.incompatible&featCorrupt != 0,
		LazyRefcounts:   h.compatible&compatLazyRefcounts != 0,
		ExtendedL2:      h.geo.extended,
		ExternalData:    h.incompatible&featDataFile != 0,
		RawExternalData: h.autoclear&autoclearRawData != 0,
		DataFile:        h.dataFile,
		BackingFile:     h.backingFile,
		BackingFormat:   h.backingFormat,
		Snapshots:       snapshots,
		SnapshotCount:   int(h.numSnapshots),
	}
	if h.geo.extended {
		i.SubclusterSize = h.geo.unit
	}
	if h.compression == compressionZstd {
		i.Compression = "zstd"
	}
	for kind, set := range [...]uint64{h.incompatible, h.compatible, h.autoclear} {
		for ; set != 0; set &= set - 1 {
			i.Features = append(i.Features, h.featureName(byte(kind), lowestBit(set)))
		}
	}
	return i, nil
}
