package vmdk

import (
	"bufio"
	"bytes"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/internal/magic"
)

const (
	// maxDescriptor bounds a descriptor: 64 TiB in pieces of 2 GiB are 32768
	// lines of some 60 bytes.
	maxDescriptor = 4 << 20
	noParent      = "ffffffff"
)

// descriptor is the text part of an image.
type descriptor struct {
	values  map[string]string // by key in lower case
	extents []extentLine
}

// empty reports whether there was nothing in the text.
func (d *descriptor) empty() bool { return len(d.values) == 0 && len(d.extents) == 0 }

// extentLine is a line such as
//
//	RW 4192256 SPARSE "disk-s001.vmdk"
//	RW 8388608 FLAT "disk-flat.vmdk" 0
type extentLine struct {
	at      int64 // of the line in the descriptor
	access  string
	sectors int64
	kind    string
	name    string
	start   int64 // first sector in the file
}

var extentRE = regexp.MustCompile(`(?i)^(RW|RDONLY|NOACCESS)\s+(\d+)\s+([A-Z0-9]+)(?:\s+"([^"]*)"(?:\s+(\d+))?)?`)

func parseDescriptor(text []byte) (*descriptor, error) {
	text = bytes.TrimPrefix(text, []byte(magic.ByteOrderMark))
	if i := bytes.IndexByte(text, 0); i >= 0 {
		text = text[:i] // padding
	}
	d := &descriptor{values: make(map[string]string)}
	at := int64(0)
	sc := bufio.NewScanner(bytes.NewReader(text))
	sc.Buffer(nil, 64<<10)
	for sc.Scan() {
		line := strings.TrimSpace(sc.Text())
		if line != "" && line[0] != '#' {
			if err := d.add(line, at); err != nil {
				return nil, err
			}
		}
		at += int64(len(sc.Bytes())) + 1
	}
	if err := sc.Err(); err != nil {
		return nil, format.Damaged(at, "descriptor", "%v", err)
	}
	return d, nil
}

func (d *descriptor) add(line string, at int64) error {
	m := extentRE.FindStringSubmatch(line)
	if m == nil {
		if k, v, ok := strings.Cut(line, "="); ok {
			d.values[strings.ToLower(strings.TrimSpace(k))] = strings.Trim(strings.TrimSpace(v), `"`)
		}
		return nil
	}
	e := extentLine{at: at, access: strings.ToUpper(m[1]), kind: strings.ToUpper(m[3]), name: m[4]}
	var err error
	if e.sectors, err = strconv.ParseInt(m[2], 10, 64); err != nil || e.sectors == 0 || e.sectors > math.MaxInt64/sectorSize {
		return format.Damaged(at, "extent size", "%q sectors", m[2])
	}
	if m[5] != "" {
		if e.start, err = strconv.ParseInt(m[5], 10, 64); err != nil || e.start > math.MaxInt64/sectorSize {
			return format.Damaged(at, "extent start", "%q", m[5])
		}
	}
	d.extents = append(d.extents, e)
	return nil
}

// check refuses a disk that is a delta of another, or encrypted.
func (d *descriptor) check(at int64) error {
	if p := strings.ToLower(d.values["parentcid"]); p != "" && p != noParent {
		return format.Unsupported(at, "parent", "%w, %q", imageerr.ErrDelta, d.values["parentfilenamehint"])
	}
	for _, k := range []string{"encryption.keysafe", "encryption.data"} {
		if _, ok := d.values[k]; ok {
			return format.New(imageerr.ErrEncrypted, at, k, "the disk is encrypted")
		}
	}
	return nil
}
