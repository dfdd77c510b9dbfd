package vmdk

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
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

// RefusePart refuses the file name in dir, both of which may be "", if a
// descriptor beside it lists it as one of several extents: it is not the whole
// disk. The error is a *[FormatError] of kind ErrMissingFile, and ErrPart.
func RefusePart(dir, name string) error {
	if !strings.EqualFold(filepath.Ext(name), ".vmdk") {
		return nil
	}
	descriptor := FindDescriptor(dir, name)
	if descriptor == "" && !flatPartRE.MatchString(name) {
		return nil
	}
	if descriptor != "" {
		if d, err := openedDescriptor(filepath.Join(dir, descriptor)); err == nil && len(d.extents) == 1 {
			return nil
		}
	}
	return format.New(ErrMissingFile, imageerr.None, "descriptor", "%w", &ReferenceError{Role: imageerr.RoleDescriptor, Name: descriptor, Err: imageerr.ErrPart})
}

// flatPartRE matches the names that VMware gives the parts of a split flat disk.
var flatPartRE = regexp.MustCompile(`(?i)-f\d{3}\.vmdk$`)

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

var errNoDescriptor = errors.New("not a descriptor")

// openedDescriptor reads the descriptor in a file of that name.
func openedDescriptor(name string) (*descriptor, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, min(fi.Size(), descriptorHead))
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, err
	}
	if !magic.IsVMDKDescriptor(head) {
		return nil, errNoDescriptor
	}
	return readDescriptor(f, fi.Size())
}

// lists reports whether file is a descriptor that lists the extent name.
func lists(file, name string) bool {
	d, err := openedDescriptor(file)
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
