package guest

// checkCleanShutdown: the guest must have been shut down. What its journals hold
// is not in the files that this examination reads.
var checkCleanShutdown = check{"clean-shutdown", guidePrepare, scanned, (*exam).checkCleanShutdown}

func (e *exam) checkCleanShutdown(f *Finding) error {
	for _, v := range e.vols.Volumes {
		ev := Evidence{Path: v.Name, Text: v.Type}
		switch {
		case v.Hibernated:
			f.found(StatusWarn, ev, "start the guest once more and shut it down", "%s holds the memory of a hibernated system", v.Name)
		case v.NeedsReplay:
			f.found(StatusWarn, ev, "shut the guest down before its disk becomes an image",
				"the journal of %s must be replayed: the guest was not shut down", v.Name)
		case v.Errors:
			f.found(StatusWarn, ev, "run fsck", "the file system on %s has recorded errors", v.Name)
		}
	}
	f.ok("every file system was unmounted")
	return nil
}
