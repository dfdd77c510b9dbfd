package vmdk

import (
	"encoding/binary"
	"io"
	"iter"
	"math"
	"slices"

	"github.com/fastimage/fastimage/internal/imagefmt"
	"github.com/fastimage/fastimage/internal/lru"
)

// What one call of NextData does at most, so that a disk of many TiB, or of many
// tiny tables, does not have all its tables read for one question.
const (
	maxRange  = 4 << 30 // bytes of a range
	maxTables = 1 << 10 // tables read
)

// sparseExtent is an extent of grains, found by two levels of tables.
type sparseExtent struct {
	ra       io.ReaderAt
	fileSize int64
	h        header
	size     int64 // of the extent in bytes
	grain    int64 // bytes
	// directory has the sector of each grain table, 0 where there is none.
	directory []uint32
	tables    *lru.Cache[key, []uint32]
	grains    *lru.Cache[key, []byte]
	ledger    imagefmt.Ledger // of grains, by table
}

// openSparse reads the header and the directory, and takes what that needs from
// the budget.
func openSparse(ra io.ReaderAt, size int64, sh *shared) (*sparseExtent, error) {
	if size < headerSize {
		return nil, format.Truncated(0, "file", "%d bytes are less than a header", size)
	}
	buf := make([]byte, headerSize)
	if err := readFull(ra, buf, 0, "header"); err != nil {
		return nil, err
	}
	h, err := readHeader(buf)
	if err != nil {
		return nil, err
	}
	s := &sparseExtent{ra: ra, fileSize: size, h: h, tables: sh.tables, grains: sh.grains}
	at := int64(0)
	if s.h.directoryAt == atEnd {
		var err error
		if at, err = s.readFooter(); err != nil {
			return nil, err
		}
	}
	if err := s.check(at); err != nil {
		return nil, err
	}
	return s, s.loadDirectory(at, sh)
}

// readHeader takes the header of a file of its own, or of an ESX host.
func readHeader(buf []byte) (header, error) {
	switch string(buf[:4]) {
	case sparseMagic:
		return parseHeader(buf), nil
	case cowdMagic:
		return parseCOWD(buf)
	}
	return header{}, format.Damaged(0, "magic", "%q", buf[:4])
}

// readFooter replaces the header by its copy at the end of a stream, which alone
// knows where the directory was written:
//
//	marker of the footer | header | marker of the end
func (s *sparseExtent) readFooter() (int64, error) {
	at := s.fileSize - 3*sectorSize
	if at < headerSize {
		return 0, format.Truncated(0, "file", "%d bytes are less than a footer, the file is truncated", s.fileSize)
	}
	buf := make([]byte, 3*sectorSize)
	if err := readFull(s.ra, buf, at, "footer"); err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	if le.Uint32(buf[8:]) != 0 || le.Uint32(buf[12:]) != markerFooter {
		return 0, format.Truncated(at, "footer marker", "missing, the file is truncated")
	}
	end := buf[2*sectorSize:]
	if le.Uint64(end) != 0 || le.Uint32(end[8:]) != 0 || le.Uint32(end[12:]) != 0 {
		return 0, format.Damaged(at+2*sectorSize, "end marker", "missing")
	}
	at += sectorSize
	if string(buf[sectorSize:sectorSize+4]) != sparseMagic {
		return 0, format.Damaged(at, "footer magic", "%q", buf[sectorSize:sectorSize+4])
	}
	s.h = parseHeader(buf[sectorSize:])
	if s.h.directoryAt == atEnd {
		return 0, format.Damaged(at+56, "directory offset", "missing from the footer")
	}
	return at, nil
}

// check holds the header at offset at to what this package reads.
func (s *sparseExtent) check(at int64) error {
	h := &s.h
	if h.version < 1 || h.version > 3 {
		return format.Unsupported(at+4, "version", "%d", h.version)
	}
	if h.capacity == 0 {
		return format.Unsupported(at+12, "capacity", "0, a header with nothing but a descriptor")
	}
	if h.capacity > math.MaxInt64/sectorSize {
		return format.Damaged(at+12, "capacity", "%d sectors", h.capacity)
	}
	if h.grain == 0 || h.grain > 1<<21 {
		return format.Damaged(at+20, "grain size", "%d sectors", h.grain)
	}
	if h.entries == 0 || h.entries > maxEntries {
		return format.Damaged(at+44, "table entries", "%d", h.entries)
	}
	if h.directoryAt == 0 {
		return format.Damaged(at+56, "directory offset", "0")
	}
	if h.directoryAt > uint64(s.fileSize)/sectorSize {
		return format.Truncated(at+56, "directory offset", "sector %d is outside the file", h.directoryAt)
	}
	s.size, s.grain = int64(h.capacity)*sectorSize, int64(h.grain)*sectorSize
	if !s.compressed() {
		return nil
	}
	if h.compression != deflate {
		return format.Unsupported(at+77, "compression", "algorithm %d", h.compression)
	}
	if s.grain > maxGrain {
		return format.Unsupported(at+20, "grain size", "%d bytes in a compressed extent", s.grain)
	}
	return nil
}

func (s *sparseExtent) compressed() bool { return s.h.flags&flagCompressed != 0 }

// loadDirectory reads where the tables are, and sees that they are in the file
// and not on top of each other.
func (s *sparseExtent) loadDirectory(at int64, sh *shared) error {
	perTable := s.grain * int64(s.h.entries) // at most 2^43
	n := imagefmt.CeilDiv(s.size, perTable)
	dirAt := int64(s.h.directoryAt) * sectorSize
	if n > (s.fileSize-dirAt)/4 {
		return format.Truncated(at+56, "directory offset", "%d entries at %d are outside the file", n, dirAt)
	}
	if n*4 > sh.budget {
		return format.Unsupported(at+12, "capacity", "a grain directory of %d bytes, more than the bound", n*4)
	}
	sh.budget -= n * 4
	s.directory = make([]uint32, n)
	read := func(p []byte, off int64) error { return readFull(s.ra, p, off, "grain directory") }
	err := imagefmt.EachEntry(dirAt, n, 4, read, func(i int64, b []byte) error {
		e := binary.LittleEndian.Uint32(b)
		if e != 0 && int64(e)*sectorSize > s.fileSize-int64(s.h.entries)*4 {
			return format.Truncated(dirAt+i*4, "directory entry", "table %d in sector %d is outside the file", i, e)
		}
		s.directory[i] = e
		return nil
	})
	if err != nil {
		return err
	}
	width := imagefmt.CeilDiv(int64(s.h.entries)*4, sectorSize)
	if a, b, bad := overlap(s.directory, width); bad {
		return format.Damaged(int64(b)*sectorSize, "grain table", "overlaps the table in sector %d", a)
	}
	return nil
}

// overlap finds two sectors that are closer than width. Those of 0 are none. Only
// where they do not ascend, as most writers have them, is there a copy to sort.
func overlap(sectors []uint32, width int64) (a, b uint32, bad bool) {
	if a, b, bad = closer(sectors, width); bad {
		sectors = slices.Clone(sectors)
		slices.Sort(sectors)
		a, b, bad = closer(sectors, width)
	}
	return a, b, bad
}

// closer finds two neighbors that do not ascend by width.
func closer(sectors []uint32, width int64) (a, b uint32, bad bool) {
	for _, b = range sectors {
		if b == 0 {
			continue
		}
		if a != 0 && int64(b)-int64(a) < width {
			return a, b, true
		}
		a = b
	}
	return 0, 0, false
}

// table returns the grain table i, nil where there is none. Entries of grains of
// zeros are 0 in it, and all others were checked.
func (s *sparseExtent) table(i int64) ([]uint32, error) {
	if s.directory[i] == 0 {
		return nil, nil
	}
	size := int64(s.h.entries) * 4
	return s.tables.Get(key{s, i}, size, func() ([]uint32, error) {
		at := int64(s.directory[i]) * sectorSize
		raw := make([]byte, size)
		if err := readFull(s.ra, raw, at, "grain table"); err != nil {
			return nil, err
		}
		return s.parseTable(raw, i, at)
	})
}

func (s *sparseExtent) parseTable(raw []byte, i, at int64) ([]uint32, error) {
	t := make([]uint32, s.h.entries)
	first := i * int64(s.h.entries)
	width := int64(1)
	if !s.compressed() {
		width = int64(s.h.grain)
	}
	for j := range t {
		g := first + int64(j)
		e := binary.LittleEndian.Uint32(raw[j*4:])
		if g*s.grain >= s.size {
			break // past the end of the disk, whatever it is
		}
		if e == 0 || e == 1 && s.h.flags&flagZeroedGrain != 0 {
			continue
		}
		need := int64(4)
		if !s.compressed() {
			need = min(s.grain, s.size-g*s.grain)
		}
		if int64(e)*sectorSize > s.fileSize-need {
			return nil, format.Truncated(at+int64(j)*4, "table entry", "grain %d in sector %d is outside the file", g, e)
		}
		t[j] = e
	}
	if a, b, bad := overlap(t, width); bad {
		return nil, format.Damaged(int64(b)*sectorSize, "grain", "overlaps the grain in sector %d", a)
	}
	if u, ok := s.ledger.Enter(i, grainUnits(t, width)); !ok {
		return nil, format.Damaged(u*width*sectorSize, "grain", "is used by two tables")
	}
	return t, nil
}

// grainUnits are the pieces of width sectors that the grains of a table begin in.
// Grains of other tables that begin in the same piece overlap them.
func grainUnits(t []uint32, width int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for _, e := range t {
			if e != 0 && !yield(int64(e)/width) {
				return
			}
		}
	}
}

// entry returns the sector of grain g, 0 where it is zeros.
func (s *sparseExtent) entry(g int64) (uint32, error) {
	n := int64(s.h.entries)
	t, err := s.table(g / n)
	if err != nil || t == nil {
		return 0, err
	}
	return t[g%n], nil
}

// readAt fills p, which lies in the extent.
func (s *sparseExtent) readAt(p []byte, off int64) error {
	for len(p) > 0 {
		g, in := off/s.grain, off%s.grain
		e, err := s.entry(g)
		if err != nil {
			return err
		}
		n := min(int64(len(p)), s.grain-in)
		switch {
		case e == 0:
			clear(p[:n])
		case s.compressed():
			err = s.readCompressed(p[:n], g, in, e)
		default:
			if n, err = s.run(g, in, e, int64(len(p))); err == nil {
				err = readFull(s.ra, p[:n], int64(e)*sectorSize+in, "grain")
			}
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// run returns how many bytes from in on, up to limit, are in one piece of the
// file: neighbors on the disk mostly are, and one read serves them all.
func (s *sparseExtent) run(g, in int64, e uint32, limit int64) (int64, error) {
	n := s.grain - in
	for i := int64(1); n < limit; i++ {
		next, err := s.entry(g + i)
		if err != nil {
			return 0, err
		}
		if int64(next) != int64(e)+i*int64(s.h.grain) {
			break
		}
		n += s.grain
	}
	return min(n, limit), nil
}

// nextData returns the first range of grains that ends after off. Past maxTables
// tables without any, it calls the next grain data, which it may be.
func (s *sparseExtent) nextData(off int64) (start, end int64, err error) {
	g, err := s.skip(off/s.grain, false, math.MaxInt64)
	if err != nil {
		return 0, 0, err
	}
	start = max(off, g*s.grain)
	if start >= s.size {
		return 0, 0, io.EOF
	}
	last, err := s.skip(g+1, true, g+max(maxRange/s.grain, 1))
	if err != nil {
		return 0, 0, err
	}
	return start, min(last*s.grain, s.size), nil
}

// skip returns the first grain from g on for which having data is not as given,
// or limit, or the number of grains where that comes first. It looks at no more
// than maxTables tables.
func (s *sparseExtent) skip(g int64, data bool, limit int64) (int64, error) {
	n := int64(s.h.entries)
	limit = min(limit, imagefmt.CeilDiv(s.size, s.grain))
	for read := 0; g < limit && read < maxTables; {
		if s.directory[g/n] == 0 {
			if data {
				return g, nil
			}
			g = s.skipTables(g/n) * n
			continue
		}
		t, err := s.table(g / n)
		if err != nil {
			return 0, err
		}
		read++
		end := min((g/n+1)*n, limit)
		for ; g < end; g++ {
			if (t[g%n] != 0) != data {
				return g, nil
			}
		}
	}
	return min(g, limit), nil
}

// skipTables returns the first table from i on that there is, or their number.
func (s *sparseExtent) skipTables(i int64) int64 {
	for i < int64(len(s.directory)) && s.directory[i] == 0 {
		i++
	}
	return i
}
