package command

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/internal/pkgerr"
	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/cmd/fastimage/internal/manifest"
)

// manifestError holds what is wrong with a manifest. It is a usage error.
type manifestError struct {
	file     string
	problems []manifest.Problem
}

func (e *manifestError) Error() string {
	return fmt.Sprintf("%s: %s; nothing was started", e.file, plural(len(e.problems), "problem"))
}

// manifestFlags are the flags that set what a key of a manifest sets.
var manifestFlags = map[string]string{
	"name": "name", "description": "description", "os_version": "os-version", "os_type": "os-type", "type": "type",
	"bucket": "bucket", "key": "key", "min_disk": "min-disk", "enterprise_project": "enterprise-project",
	"architecture": "architecture", "firmware": "firmware", "license": "license", "format": "format", "level": "level",
	"mf": "mf", "mf_layout": "mf-layout", "source_format": "source-format", "references": "references",
	"member": "member", "size": "size", "tags": "tag", "image_tags": "image-tag",
	"overwrite": "overwrite", "delete_object": "delete-object",
}

// systemKeys are those of system disks alone.
var systemKeys = []string{"os_version", "architecture", "firmware", "license"}

// manifestOrders reads a manifest and checks all of it: its own form, the values,
// the rules of the service, and that the files are there.
func (a *app) manifestOrders(f *importFlags, bucket string) ([]*order, error) {
	data, err := os.ReadFile(f.manifest)
	if err != nil {
		return nil, err
	}
	entries, err := manifest.Parse(data)
	c := &manifestCheck{app: a, dir: filepath.Dir(f.manifest), names: map[string]int{}, objects: map[string]int{}}
	if e, ok := errors.AsType[*manifest.Error](err); ok {
		c.problems = e.Problems
	}
	var orders []*order
	for _, e := range entries {
		orders = append(orders, c.orders(e, f, bucket)...)
	}
	if len(c.problems) > 0 {
		slices.SortStableFunc(c.problems, func(a, b manifest.Problem) int { return a.Line - b.Line })
		return nil, &manifestError{f.manifest, slices.Compact(c.problems)}
	}
	return orders, nil
}

// manifestCheck collects the problems of a manifest.
type manifestCheck struct {
	app            *app
	dir            string // relative paths are relative to it
	problems       []manifest.Problem
	names, objects map[string]int // lines at which they were given
}

func (c *manifestCheck) problem(line int, format string, args ...any) {
	c.problems = append(c.problems, manifest.Problem{Line: line, Text: oneLine(fmt.Sprintf(format, args...))})
}

// orders makes the order of an entry: its values are set as flags are, on top of
// those of the command line.
func (c *manifestCheck) orders(e *manifest.Entry, base *importFlags, bucket string) []*order {
	o := &order{entry: e, source: c.path(e.Source)}
	fl := o.flagSet(base)
	o.flags.image.Name = "unnamed" // that it has no name is a problem of its own
	set := func(key, value string) {
		if value == "" {
			return
		}
		if key == "mf" || key == "references" {
			value = c.path(value)
		}
		if err := fl.Set(manifestFlags[key], value); err != nil {
			if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
				err = bad.Unwrap()
			}
			c.problem(e.LineOf(key), "%s %q: %s", key, value, pkgerr.Text(err))
		}
	}
	data := e.Values["type"] == string(quickimport.TypeData)
	for key, value := range e.Values {
		// Defaults for system disks say nothing about data disks.
		if key != "source" && !(data && e.Inherited(key) && slices.Contains(systemKeys, key)) {
			set(key, value)
		}
	}
	for key, values := range e.Lists {
		for _, v := range values {
			set(key, v)
		}
	}
	for _, key := range []string{"overwrite", "delete_object"} {
		if on, given := e.Flags[key]; given {
			set(key, fmt.Sprint(on))
		}
	}
	c.check(o, bucket)
	if !e.Flags["all_disks"] {
		return []*order{o}
	}
	all, err := c.app.diskOrders(o.source, &o.flags, o.image.Bucket)
	if err != nil {
		c.problem(e.LineOf("all_disks"), "all_disks: %s", message(err))
	}
	return all
}

// path is a local path relative to the manifest; URLs stay.
func (c *manifestCheck) path(name string) string {
	if strings.Contains(name, "://") || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.dir, name)
}

// flagSet returns the flags of an image, with the values of the command line.
func (o *order) flagSet(base *importFlags) *pflag.FlagSet {
	cmd := base.image.app.importFlagsCmd(&o.flags)
	o.flags = *base
	o.flags.image.Tags, o.flags.image.imageTags = slices.Clone(base.image.Tags), slices.Clone(base.image.imageTags)
	return cmd.Flags()
}

// manifestField is the key for a field of the service.
func manifestField(field string) string {
	for key, flag := range manifestFlags {
		if "--"+flag == flagOf(field) {
			return key
		}
	}
	return field
}

// check applies the rules of the service, and looks at the file.
func (c *manifestCheck) check(o *order, bucket string) {
	e := o.entry
	img, err := o.flags.image.image()
	if err != nil {
		c.problem(e.Line, "%s", message(err))
	}
	img.Bucket = cmp.Or(img.Bucket, bucket)
	o.image = img
	if img.Bucket == "" {
		c.problem(e.Line, "the image has no bucket; set bucket, or use --bucket")
		img.Bucket = "bucket"
	}
	if o.flags.format != quickimport.FormatRaw && (o.flags.mf != "" || o.flags.mfLayout != "") {
		c.problem(e.LineOf("format"), "mf and mf_layout go with format: raw")
	}
	// What the import fills in is not missing.
	img.Key, img.MinDisk = cmp.Or(img.Key, "key"), cmp.Or(img.MinDisk, 1)
	if img.OSVersion == "" && img.Type != quickimport.TypeData {
		img.OSVersion = "detected"
	}
	if refused, ok := errors.AsType[*quickimport.ValidationError](img.Validate()); ok {
		for _, p := range refused.Problems {
			x := explain(o.flags.image.app.importFlagsCmd(&importFlags{}), p)
			key := manifestField(x.Field)
			c.problem(e.LineOf(key), "%s %q: %s (%s)", key, x.Value, x.Rule, x.Advice)
		}
	}
	c.distinct(o)
	if !e.Has("source") || strings.Contains(o.source, "://") {
		return
	}
	opts, err := o.flags.source.options()
	if err == nil && !e.Flags["all_disks"] {
		err = openable(o.source, opts)
	}
	if err != nil {
		c.problem(e.LineOf("source"), "source: %s", message(err))
	}
}

// distinct finds names and objects that are given twice.
func (c *manifestCheck) distinct(o *order) {
	e := o.entry
	if first, twice := c.names[o.image.Name]; twice && e.Has("name") {
		c.problem(e.LineOf("name"), "name %q is that of the image in line %d", o.image.Name, first)
	} else {
		c.names[o.image.Name] = e.LineOf("name")
	}
	if o.image.Key == "" {
		return // it follows from the name
	}
	object := o.image.Bucket + "/" + o.image.Key
	if first, twice := c.objects[object]; twice {
		c.problem(e.LineOf("key"), "key %q is that of the image in line %d", o.image.Key, first)
	} else {
		c.objects[object] = e.LineOf("key")
	}
}
