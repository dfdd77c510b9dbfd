package vmdk

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/internal/magic"
)

// refusePart refuses a sparse extent without a descriptor of its own: it is one
// part of a disk, and the descriptor is in another file. An extent of an ESX host
// never has one; it is refused only where a descriptor beside it names it.
func (o *options) refusePart(s *sparseExtent) error {
	name := FindDescriptor(o.dir, o.name)
	if s.h.esx && name == "" {
		return nil
	}
	return format.New(ErrMissingFile, 28, "descriptor", "%w", &ReferenceError{Role: imageerr.RoleDescriptor, Name: name, Err: imageerr.ErrPart})
}

// maxBeside bounds the files that FindDescriptor looks into.
const maxBeside = 1024

// FindDescriptor returns the name of the file in dir that is a descriptor which
// lists the file name as an extent, "" if there is none. Both names are without
// a directory.
func FindDescriptor(dir, name string) string {
	if dir == "" || name == "" {
		return ""
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	looked := 0
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() == name || !strings.EqualFold(filepath.Ext(e.Name()), ".vmdk") {
			continue
		}
		if looked++; looked > maxBeside {
			break
		}
		if lists(filepath.Join(dir, e.Name()), name) {
			return e.Name()
		}
	}
	return ""
}

// lists reports whether file is a descriptor that lists the extent name.
func lists(file, name string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close() // read only
	fi, err := f.Stat()
	if err != nil || fi.Size() > maxDescriptor {
		return false
	}
	head := make([]byte, min(fi.Size(), descriptorHead))
	if _, err := f.ReadAt(head, 0); err != nil || !magic.IsVMDKDescriptor(head) {
		return false
	}
	d, err := readDescriptor(f, fi.Size())
	if err != nil {
		return false
	}
	for _, e := range d.extents {
		if strings.EqualFold(e.name, name) {
			return true
		}
	}
	return false
}
