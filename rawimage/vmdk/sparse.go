package vmdk

import (
	"encoding/binary"
	"io"
	"math"
	"slices"

	"github.com/fastimage/fastimage/internal/imagefmt"
)

// maxRange ends a range of data, so that a NextData of a dense disk of many TiB
// does not read all its tables.
const maxRange = 4 << 30

// sparse is an extent of grains behind two levels of tables. It does not change
// after it is open.
type sparse struct {
	ra       io.ReaderAt
	fileSize int64
	h        header
	size     int64 // of the extent in bytes
	grain    int64 // bytes
	// directory has the sector of each grain table, 0 where there is none.
	directory []uint32
	tables    *imagefmt.Cache[key, []uint32]
	grains    *imagefmt.Cache[key, []byte]
}

// openSparse reads the header and the directory, and takes what that needs from
// the budget.
func openSparse(ra io.ReaderAt, size int64, sh *shared) (*sparse, error) {
	if size < headerSize {
		return nil, malformed(0, "file", "%d bytes are less than a header", size)
	}
	buf := make([]byte, headerSize)
	if err := readFull(ra, buf, 0, "header"); err != nil {
		return nil, err
	}
	switch string(buf[:4]) {
	case sparseMagic:
	case cowdMagic:
		return nil, unsupported(0, "magic", "a sparse extent of an ESX host (COWD), export the machine instead")
	default:
		if string(buf[:3]) == gzipMagic {
			return nil, unsupported(0, "magic", "the file is compressed with gzip, unpack it first")
		}
		return nil, malformed(0, "magic", "%q", buf[:4])
	}
	s := &sparse{ra: ra, fileSize: size, h: parseHeader(buf), tables: sh.tables, grains: sh.grains}
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

// readFooter replaces the header by its copy at the end of a stream, which alone
// knows where the directory was written:
//
//	marker of the footer | header | marker of the end
func (s *sparse) readFooter() (int64, error) {
	at := s.fileSize - 3*sectorSize
	if at < headerSize {
		return 0, malformed(0, "file", "%d bytes are less than a footer, the file is truncated", s.fileSize)
	}
	buf := make([]byte, 3*sectorSize)
	if err := readFull(s.ra, buf, at, "footer"); err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	if le.Uint32(buf[8:]) != 0 || le.Uint32(buf[12:]) != markerFooter {
		return 0, malformed(at, "footer marker", "missing, the file is truncated")
	}
	end := buf[2*sectorSize:]
	if le.Uint64(end) != 0 || le.Uint32(end[8:]) != 0 || le.Uint32(end[12:]) != 0 {
		return 0, malformed(at+2*sectorSize, "end marker", "missing")
	}
	at += sectorSize
	if string(buf[sectorSize:sectorSize+4]) != sparseMagic {
		return 0, malformed(at, "footer magic", "%q", buf[sectorSize:sectorSize+4])
	}
	s.h = parseHeader(buf[sectorSize:])
	if s.h.directoryAt == atEnd {
		return 0, malformed(at+56, "directory offset", "missing from the footer")
	}
	return at, nil
}

// check holds the header at offset at to what this package reads.
func (s *sparse) check(at int64) error {
	h := &s.h
	if h.version < 1 || h.version > 3 {
		return unsupported(at+4, "version", "%d", h.version)
	}
	if h.capacity == 0 {
		return unsupported(at+12, "capacity", "0, a header with nothing but a descriptor")
	}
	if h.capacity > math.MaxInt64/sectorSize {
		return malformed(at+12, "capacity", "%d sectors", h.capacity)
	}
	if h.grain == 0 || h.grain > 1<<21 {
		return malformed(at+20, "grain size", "%d sectors", h.grain)
	}
	if h.entries == 0 || h.entries > maxEntries {
		return malformed(at+44, "table entries", "%d", h.entries)
	}
	if h.directoryAt == 0 || h.directoryAt > uint64(s.fileSize)/sectorSize {
		return malformed(at+56, "directory offset", "sector %d is outside the file", h.directoryAt)
	}
	s.size, s.grain = int64(h.capacity)*sectorSize, int64(h.grain)*sectorSize
	if !s.compressed() {
		return nil
	}
	if h.compression != deflate {
		return unsupported(at+77, "compression", "algorithm %d", h.compression)
	}
	if s.grain > maxGrain {
		return unsupported(at+20, "grain size", "%d bytes in a compressed extent", s.grain)
	}
	return nil
}

func (s *sparse) compressed() bool { return s.h.flags&flagCompressed != 0 }

// loadDirectory reads where the tables are, and sees that they are in the file
// and not on top of each other.
func (s *sparse) loadDirectory(at int64, sh *shared) error {
	perTable := s.grain * int64(s.h.entries) // at most 2^43
	n := imagefmt.CeilDiv(s.size, perTable)
	dirAt := int64(s.h.directoryAt) * sectorSize
	if n > (s.fileSize-dirAt)/4 {
		return malformed(at+56, "directory offset", "%d entries at %d are outside the file", n, dirAt)
	}
	if n*4 > sh.budget {
		return unsupported(at+12, "capacity", "a grain directory of %d bytes, more than the bound", n*4)
	}
	sh.budget -= n * 4
	s.directory = make([]uint32, n)
	read := func(p []byte, off int64) error { return readFull(s.ra, p, off, "grain directory") }
	err := imagefmt.EachEntry(dirAt, n, 4, read, func(i int64, b []byte) error {
		e := binary.LittleEndian.Uint32(b)
		if e != 0 && int64(e)*sectorSize > s.fileSize-int64(s.h.entries)*4 {
			return malformed(dirAt+i*4, "directory entry", "table %d in sector %d is outside the file", i, e)
		}
		s.directory[i] = e
		return nil
	})
	if err != nil {
		return err
	}
	width := imagefmt.CeilDiv(int64(s.h.entries)*4, sectorSize)
	if a, b, bad := overlap(s.directory, width); bad {
		return malformed(int64(b)*sectorSize, "grain table", "overlaps the table in sector %d", a)
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

// closer finds two neighbours that do not ascend by width.
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
func (s *sparse) table(i int64) ([]uint32, error) {
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

func (s *sparse) parseTable(raw []byte, i, at int64) ([]uint32, error) {
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
			break // behind the end of the disk, whatever it is
		}
		if e == 0 || e == 1 && s.h.flags&flagZeroedGrain != 0 {
			continue
		}
		need := int64(4)
		if !s.compressed() {
			need = min(s.grain, s.size-g*s.grain)
		}
		if int64(e)*sectorSize > s.fileSize-need {
			return nil, malformed(at+int64(j)*4, "table entry", "grain %d in sector %d is outside the file", g, e)
		}
		t[j] = e
	}
	if a, b, bad := overlap(t, width); bad {
		return nil, malformed(int64(b)*sectorSize, "grain", "overlaps the grain in sector %d", a)
	}
	return t, nil
}

// entry returns the sector of grain g, 0 where it is zeros.
func (s *sparse) entry(g int64) (uint32, error) {
	n := int64(s.h.entries)
	t, err := s.table(g / n)
	if err != nil || t == nil {
		return 0, err
	}
	return t[g%n], nil
}

// readAt fills p, which lies in the extent.
func (s *sparse) readAt(p []byte, off int64) error {
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
// file: neighbours on the disk mostly are, and one read serves them all.
func (s *sparse) run(g, in int64, e uint32, limit int64) (int64, error) {
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

// nextData returns the first range of grains that ends behind off.
func (s *sparse) nextData(off int64) (start, end int64, err error) {
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

// skip returns the first grain from g on whose having data is not as given, or
// limit or the number of grains where that comes first.
func (s *sparse) skip(g int64, data bool, limit int64) (int64, error) {
	n := int64(s.h.entries)
	limit = min(limit, imagefmt.CeilDiv(s.size, s.grain))
	for g < limit {
		t, err := s.table(g / n)
		if err != nil {
			return 0, err
		}
		if t == nil {
			if data {
				return g, nil
			}
			g = (g/n + 1) * n
			continue
		}
		for ; g < limit; g++ {
			if (t[g%n] != 0) != data {
				return g, nil
			}
			if g%n == n-1 {
				g++
				break
			}
		}
	}
	return min(g, limit), nil
}
