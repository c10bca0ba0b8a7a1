"""A gallery as its authors would write it: nothing in it knows that files go to OSS."""
