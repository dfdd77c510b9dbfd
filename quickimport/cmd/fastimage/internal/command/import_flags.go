package command

import (
	"cmp"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/zvhd2"
)

// levelFlag adds a flag for the compression level.
func levelFlag(fl *pflag.FlagSet, l *zvhd2.Level, def zvhd2.Level, usage string) {
	*l = def
	fl.Var((*levelValue)(l), "level", usage+": fastest, default, better, best or auto")
}

type levelValue zvhd2.Level

func (l *levelValue) Type() string   { return "string" }
func (l *levelValue) String() string { return zvhd2.Level(*l).String() }

func (l *levelValue) values() []string {
	var all []string
	for i := zvhd2.LevelFastest; i <= zvhd2.LevelAuto; i++ {
		all = append(all, i.String())
	}
	return all
}

func (l *levelValue) Set(s string) error {
	v, err := zvhd2.ParseLevel(s)
	if err != nil {
		return errors.New("want " + alternatives(l.values()) + didYouMean(s, l.values()))
	}
	*l = levelValue(v)
	return nil
}

// imageFlags are the fields of the image to create.
type imageFlags struct {
	quickimport.Image
	imageTags []string
	minDisk   int64 // GiB
	app       *app
}

func (f *imageFlags) add(a *app, cmd *cobra.Command) {
	f.app = a
	topic(cmd, topicImage, func(fl *pflag.FlagSet) {
		fl.StringVar(&f.Name, "name", "", "name of the image, 1 to 128 characters (required)")
		fl.StringVar(&f.OSVersion, "os-version", "", "operating system, as 'fastimage os-versions' lists it (default: detected)")
		openFlag(fl, &f.OSType, "os-type", []string{"Linux", "Windows"}, "Linux or Windows, for data disks (default Linux)")
		openFlag(fl, &f.Type, "type", []string{"ECS", "BMS", "DataImage"}, "ECS, BMS or DataImage (default ECS)")
		fl.Var(sizeFlag{n: &f.minDisk, unit: 1 << 30}, "min-disk", "smallest disk of a server created from the image, 1GiB to 1024GiB (default: by the size of the disk)")
		fl.StringVar(&f.Description, "description", "", "description, up to 1024 characters")
		fl.StringArrayVar(&f.Tags, "tag", nil, "tag as key.value; may be repeated")
		fl.StringArrayVar(&f.imageTags, "image-tag", nil, "tag as key=value, instead of --tag; may be repeated")
		fl.StringVar(&f.EnterpriseProjectID, "enterprise-project", "", "enterprise project id (default HW_ENTERPRISE_PROJECT_ID, else 0)")
		openFlag(fl, &f.Architecture, "architecture", []string{"auto", "x86", "arm"}, "auto (what the disk says), x86 or arm (default auto)")
		openFlag(fl, &f.HWFirmwareType, "firmware", []string{"auto", "bios", "uefi"}, "auto (what the disk says), bios or uefi (default auto)")
		openFlag(fl, &f.LicenseType, "license", []string{"platform", "byol"}, "platform or byol, for Windows")
	})
}

// image is what the flags ask for.
func (f *imageFlags) image() (quickimport.Image, error) {
	img := f.Image
	img.MinDisk = int(min(f.minDisk, math.MaxInt32))
	img.EnterpriseProjectID = cmp.Or(img.EnterpriseProjectID, f.app.getenv("HW_ENTERPRISE_PROJECT_ID"))
	for _, t := range f.imageTags {
		key, value, ok := strings.Cut(t, "=")
		if !ok {
			return img, usagef("--image-tag %q: want key=value", t)
		}
		img.ImageTags = append(img.ImageTags, quickimport.Tag{Key: key, Value: value})
	}
	if img.Name == "" {
		return img, usagef("no name for the image; use --name")
	}
	return img, nil
}

// followFlags say how far an import is followed, and how it is recorded.
type followFlags struct {
	noWait, noResume, resubmit, json bool
	timeout, settle                  time.Duration
	stateDir, version                string
}

func (f *followFlags) add(cmd *cobra.Command) {
	topic(cmd, topicImport, func(fl *pflag.FlagSet) {
		fl.BoolVar(&f.noWait, "no-wait", false, "return as soon as the request is accepted, and print the job's id")
		fl.DurationVar(&f.timeout, "timeout", 0, "give up after this time, for instance 2h; a running job continues in the cloud (default: none)")
		fl.StringVar(&f.stateDir, "state-dir", "", "directory for the state needed to resume (default: fastimage in the user's cache directory)")
		fl.BoolVar(&f.noResume, "no-resume", false, "save no state: a failed import removes what it has uploaded")
		fl.BoolVar(&f.resubmit, "resubmit", false, "send the create request again although its outcome is unknown; first make sure that there is no such image")
		fl.DurationVar(&f.settle, "settle-time", time.Minute, "how long to look for the image when the outcome of the create request is unknown")
		choiceFlag(fl, &f.version, "api-version", "v2", []string{"v2", "v2.1"}, "version of the create request, v2 or v2.1")
	})
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) { jsonFlag(fl, &f.json) })
}

// options are those of one import.
func (f *followFlags) options() []quickimport.ImportOption {
	opts := []quickimport.ImportOption{quickimport.WithWait(!f.noWait)}
	if f.resubmit {
		opts = append(opts, quickimport.WithResubmit())
	}
	return opts
}

// clientOptions are those of the client.
func (f *followFlags) clientOptions(a *app, local bool) ([]quickimport.Option, error) {
	opts := []quickimport.Option{quickimport.WithAPIVersion(f.version), quickimport.WithSettleTime(f.settle)}
	dir, err := a.stateDir(f.stateDir, "imports")
	switch {
	case f.timeout < 0:
		return nil, usagef("--timeout %s: want a duration such as 2h", f.timeout)
	case f.noResume && f.stateDir != "":
		return nil, usagef("--no-resume and --state-dir contradict each other; leave one out")
	case f.noResume, local && f.stateDir == "":
		return opts, nil
	case err != nil:
		return nil, err
	}
	a.resumable = true
	return append(opts, quickimport.WithStateDir(dir)), nil
}

// stateDir is the directory given, or one in the user's cache.
func (a *app) stateDir(given, folder string) (string, error) {
	if given != "" {
		return given, nil
	}
	cache := a.getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(cache) {
		var err error
		if cache, err = os.UserCacheDir(); err != nil {
			return "", usagef("no cache directory: %w; use --state-dir", err)
		}
	}
	return filepath.Join(cache, "fastimage", folder), nil
}

// context is ctx with the timeout that was asked for.
func (f *followFlags) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, f.timeout)
}
