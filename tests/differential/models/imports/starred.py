STAR = "star"
_HIDDEN = 1
