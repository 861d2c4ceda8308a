def spoil(array):
    view = array[1:]
    view *= 2
