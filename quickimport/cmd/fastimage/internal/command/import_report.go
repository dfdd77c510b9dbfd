package command

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/fastimage/fastimage/quickimport"
)

// report prints the result: JSON alone, or the image id (the job id when the
// image was not waited for) on standard output and the summary on standard
// error, so that id=$(fastimage import ...) works.
func (a *app) report(res *quickimport.Result, asJSON, local, before bool) error {
	if asJSON {
		return a.printJSON(res)
	}
	if !a.quiet {
		a.summary(res, local, before)
	}
	_, err := fmt.Fprintln(a.stdout, cmp.Or(res.ImageID, res.JobID))
	return err
}

func (a *app) summary(res *quickimport.Result, local, before bool) {
	w := a.stderr
	if before {
		fmt.Fprintf(w, "already imported: %s is image %s; nothing was sent\n", oneLine(res.ImageName), res.ImageID)
		return
	}
	fmt.Fprintf(w, "image   %s (job %s)\n", res.ImageName, cmp.Or(res.JobID, "unknown: the answer was lost"))
	fmt.Fprintf(w, "object  %s/%s (%s from %s)\n", res.Bucket, res.Key, res.Format, res.SourceFormat)
	fmt.Fprintf(w, "sizes   disk %s, data %s, object %s, sent %s%s\n",
		size(res.SourceBytes), size(res.DataBytes), size(res.ObjectBytes), size(res.WireBytes), sentRate(res))
	phases := make([]string, len(res.Phases))
	for i, p := range res.Phases {
		phases[i] = fmt.Sprintf("%s %.2fs", p.Name, p.Seconds)
	}
	fmt.Fprintf(w, "time    %.2fs (%s)\n", res.Seconds, strings.Join(phases, ", "))
	if res.Format == quickimport.FormatRaw {
		fmt.Fprintln(w, "note    the layout of the .mf file is an assumption; zvhd2 needs none")
	}
	if res.ImageID == "" {
		fmt.Fprintf(w, "note    the job is running; 'fastimage job --wait %s' follows it\n", res.JobID)
	}
	if local {
		fmt.Fprintln(w, "note    the simulated cloud is gone with this process; 'fastimage serve' keeps one")
	}
}

// printPlan prints what an import would do.
func (a *app) printPlan(p *quickimport.Plan, asJSON bool) error {
	if asJSON {
		return a.printJSON(p)
	}
	s := p.Source
	lines := []string{
		fmt.Sprintf("source   %s (%s), file %s, disk %s, of it outside of holes %s", s.Name, s.Format, size(s.FileBytes), size(s.DiskBytes), size(s.DataBytes)),
		fmt.Sprintf("object   %s/%s (%s), at most %s", p.Bucket, p.Key, p.Format, size(p.ObjectBytesMax)),
		fmt.Sprintf("upload   at most %d parts of %s, at most %s sent", p.PartsMax, size(p.PartBytes), size(p.SendBytesMax)),
		fmt.Sprintf("image    %s, min disk %dGiB", p.ImageName, p.MinDisk),
	}
	if p.MFKey != "" {
		lines = append(lines, fmt.Sprintf("bitmap   %s/%s, whose layout is an assumption unless given", p.Bucket, p.MFKey))
	}
	if p.Quota != nil && p.Quota.Limit >= 0 {
		lines = append(lines, fmt.Sprintf("quota    %d of %d images", p.Quota.Used, p.Quota.Limit))
	}
	if p.Stage != "planned" {
		lines = append(lines, "stage    reached by an earlier run: "+p.Stage)
	}
	for _, w := range p.Warnings {
		lines = append(lines, "warning  "+w.Text)
	}
	lines = append(lines, "all checks passed; nothing was uploaded (dry run)")
	_, err := fmt.Fprint(a.stdout, oneLineEach(lines))
	return err
}

// sentRate is how fast the upload was, counted in bytes of the network and of
// the disk.
func sentRate(res *quickimport.Result) string {
	for _, p := range res.Phases {
		if p.Name == quickimport.PhaseUpload {
			if r := rate(res.WireBytes, p.Seconds); r != "" {
				return " at " + r + " (disk at " + rate(res.SourceBytes, p.Seconds) + ")"
			}
		}
	}
	return ""
}
