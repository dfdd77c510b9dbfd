package qcow2

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/fastimage/fastimage/internal/imagefmt"
	"github.com/fastimage/fastimage/internal/sparse"
)

// What is written: version 3, clusters of 64 KiB, refcounts of 16 bits.
//
//	cluster 0        header
//	cluster 1        L1 table
//	...              L2 tables and clusters of data, in the order in which they come
//	...              refcount blocks
//	end              refcount table
const (
	encClusterBits = 16
	encCluster     = 1 << encClusterBits
	encL2Entries   = encCluster / 8
	encL2Span      = encL2Entries * encCluster // bytes of the disk
	encRefs        = encCluster / 2            // refcounts in a block

	encHeaderLen   = 112 // with the compression type, padded to 8
	encRefcount16  = 4
	encSectorShift = 62 - (encClusterBits - 8)
)

// encoder writes the clusters of an image. Units of the disk may come from many
// goroutines and in any order, each once.
//
// L2 entries go straight to the file, those of a unit in one write of 256 bytes:
// what is never written is a hole there, which is an entry of a cluster of zeros.
// So no table has to be kept in memory.
type encoder struct {
	w           io.WriterAt
	size        int64 // of the disk, in whole sectors
	compression Compression
	stored      atomic.Int64 // bytes of the disk in stored clusters

	mu   sync.Mutex // guards what follows
	l1   []int64    // where the L2 tables are, 0 for none
	next int64      // the first cluster that is not in use
	tail int64      // compressed data ends here
	refs []uint16   // users of each cluster of the file up to next
}

func newEncoder(w io.WriterAt, size int64, c Compression) *encoder {
	size = imagefmt.CeilDiv(size, sectorSize) * sectorSize
	e := &encoder{w: w, size: size, compression: c, l1: make([]int64, imagefmt.CeilDiv(size, encL2Span))}
	e.take(1)                                                // header
	e.take(imagefmt.CeilDiv(int64(len(e.l1))*8, encCluster)) // L1 table
	return e
}

// take allocates n clusters. It is called with the lock held, or alone.
func (e *encoder) take(n int64) (off int64) {
	off = e.next
	e.next += n * encCluster
	for range n {
		e.refs = append(e.refs, 1)
	}
	return off
}

// takeClusters allocates n clusters for data.
func (e *encoder) takeClusters(n int64) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.take(n)
}

// takeBytes allocates the bytes of compressed clusters, one right after the other. They begin where earlier ones ended, if nothing else was allocated since.
func (e *encoder) takeBytes(packed [][]byte) (off int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	off = e.tail
	if off == 0 || imagefmt.CeilDiv(off, encCluster)*encCluster != e.next {
		off = e.next
	}
	e.tail = off
	for _, p := range packed {
		n := int64(len(p))
		for first := e.tail / encCluster; first <= (e.tail+n-1)/encCluster; first++ {
			if first*encCluster == e.next {
				e.next += encCluster
				e.refs = append(e.refs, 0)
			}
			e.refs[first]++
		}
		e.tail += n
	}
	return off
}

// l2Table returns where the L2 table is that maps the disk at off, and makes it
// if there is none.
func (e *encoder) l2Table(off int64) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := off / encL2Span
	if e.l1[i] == 0 {
		e.l1[i] = e.take(1)
	}
	return e.l1[i]
}

// put writes a unit, whose off is a multiple of unitSize.
func (e *encoder) put(c clusterCompressor, off int64, p []byte) error {
	b, err := newBatch(c, p)
	if err != nil || len(b.plain)+len(b.packed) == 0 {
		return err
	}
	table := e.l2Table(off)
	if err := e.writePlain(b); err != nil {
		return err
	}
	if err := e.writePacked(b); err != nil {
		return err
	}
	e.stored.Add(int64(len(b.plain)+len(b.packed)) * encCluster)
	return e.write(b.entries, table+off%encL2Span/encCluster*8)
}

// batch is a unit on its way into the file.
type batch struct {
	data    []byte   // whole clusters
	entries []byte   // of the L2 table
	plain   []int    // clusters that are stored as they are
	packed  []int    // clusters that are compressed
	out     [][]byte // what these became
}

// newBatch sorts the clusters of a unit into those of zeros, those that compress
// and those that do not.
func newBatch(c clusterCompressor, p []byte) (*batch, error) {
	clusters := int(imagefmt.CeilDiv(int64(len(p)), encCluster))
	if len(p) < clusters*encCluster { // the end of the disk
		p = append(make([]byte, 0, clusters*encCluster), p...)[:clusters*encCluster]
	}
	b := &batch{data: p, entries: make([]byte, clusters*8)}
	for i := range clusters {
		data := p[i*encCluster : (i+1)*encCluster]
		if sparse.IsZero(data) {
			continue
		}
		packed, err := c.compress(data)
		if err != nil {
			return nil, fmt.Errorf("qcow2: compress: %w", err)
		}
		if packed == nil {
			b.plain = append(b.plain, i)
			continue
		}
		b.packed, b.out = append(b.packed, i), append(b.out, packed)
	}
	return b, nil
}

func (b *batch) setEntry(i int, entry uint64) { binary.BigEndian.PutUint64(b.entries[i*8:], entry) }

// writePlain writes neighbours with one call.
func (e *encoder) writePlain(b *batch) error {
	if len(b.plain) == 0 {
		return nil
	}
	pos := e.takeClusters(int64(len(b.plain)))
	for k := 0; k < len(b.plain); {
		first, start := b.plain[k], pos
		end := first
		for ; k < len(b.plain) && b.plain[k] == end; k, end, pos = k+1, end+1, pos+encCluster {
			b.setEntry(end, uint64(pos)|flagCopied)
		}
		if err := e.write(b.data[first*encCluster:end*encCluster], start); err != nil {
			return err
		}
	}
	return nil
}

// writePacked writes all compressed clusters with one call.
func (e *encoder) writePacked(b *batch) error {
	if len(b.packed) == 0 {
		return nil
	}
	start := e.takeBytes(b.out)
	pos := start
	for k, i := range b.packed {
		n := int64(len(b.out[k]))
		sectors := (pos+n-1)/sectorSize - pos/sectorSize
		b.setEntry(i, uint64(pos)|uint64(sectors)<<encSectorShift|flagCompressed)
		pos += n
	}
	return e.write(bytes.Join(b.out, nil), start)
}

func (e *encoder) write(p []byte, off int64) error {
	if _, err := e.w.WriteAt(p, off); err != nil {
		return fmt.Errorf("qcow2: write at offset %d: %w", off, err)
	}
	return nil
}

// finish writes the tables and, last, the header.
func (e *encoder) finish() (*Summary, error) {
	l1 := make([]byte, imagefmt.CeilDiv(int64(len(e.l1))*8, encCluster)*encCluster)
	for i, off := range e.l1 {
		if off != 0 {
			binary.BigEndian.PutUint64(l1[i*8:], uint64(off)|flagCopied)
		}
	}
	if err := e.write(l1, encCluster); err != nil {
		return nil, err
	}
	table, clusters, err := e.writeRefcounts()
	if err != nil {
		return nil, err
	}
	if err := e.write(e.header(table, clusters), 0); err != nil {
		return nil, err
	}
	return &Summary{DiskSize: e.size, FileSize: e.next, DataBytes: e.stored.Load()}, nil
}

// writeRefcounts writes the refcount blocks, and the table that lists them at
// the end of the file. Both count themselves.
func (e *encoder) writeRefcounts() (table, clusters int64, err error) {
	used := e.next / encCluster
	var blocks int64
	for { // their number depends on itself
		n := imagefmt.CeilDiv(used+blocks+clusters, encRefs)
		t := imagefmt.CeilDiv(n*8, encCluster)
		if n == blocks && t == clusters {
			break
		}
		blocks, clusters = n, t
	}
	first := e.take(blocks)
	table = e.take(clusters)
	list := make([]byte, clusters*encCluster)
	buf := make([]byte, encCluster)
	for i := range blocks {
		binary.BigEndian.PutUint64(list[i*8:], uint64(first+i*encCluster))
		clear(buf)
		for k, n := range e.refs[i*encRefs : min((i+1)*encRefs, int64(len(e.refs)))] {
			binary.BigEndian.PutUint16(buf[k*2:], n)
		}
		if err := e.write(buf, first+i*encCluster); err != nil {
			return 0, 0, err
		}
	}
	return table, clusters, e.write(list, table)
}

func (e *encoder) header(refcounts, refcountClusters int64) []byte {
	h := make([]byte, encCluster)
	be := binary.BigEndian
	be.PutUint32(h, qcowMagic)
	be.PutUint32(h[offVersion:], 3)
	be.PutUint32(h[offClusterBits:], encClusterBits)
	be.PutUint64(h[offSize:], uint64(e.size))
	be.PutUint32(h[offL1Size:], uint32(len(e.l1)))
	be.PutUint64(h[offL1Offset:], encCluster)
	be.PutUint64(h[offRefcount:], uint64(refcounts))
	be.PutUint32(h[offRefcountClusters:], uint32(refcountClusters))
	be.PutUint32(h[offRefcountOrder:], encRefcount16)
	be.PutUint32(h[offHeaderLen:], encHeaderLen)
	if e.compression == CompressionZstd {
		be.PutUint64(h[offIncompatible:], featCompression)
		h[offCompression] = compressionZstd
	}
	return h // the extension that ends the list is all zeros
}
