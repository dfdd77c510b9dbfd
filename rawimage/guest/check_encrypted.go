package guest

// checkEncrypted: nobody can type a passphrase, save on the console.
var checkEncrypted = check{"encrypted", guidePrepare, scanned, (*exam).checkEncrypted}

func (e *exam) checkEncrypted(f *Finding) error {
	for _, v := range e.vols.Volumes {
		if v.Encrypted() {
			f.found(StatusWarn, Evidence{Path: v.Name, Text: v.Type}, "decrypt it before its disk becomes an image",
				"%s is encrypted (%s): somebody must type the passphrase on the console whenever a server starts", v.Name, v.Type)
		}
	}
	f.ok("nothing is encrypted")
	return nil
}
